# SPDX-License-Identifier: MIT
"""What a member is told on its command line, and that it does it."""

from __future__ import annotations

import unittest

import scenario


class MemberTest(scenario.Scenario):
    def test_it_ends_by_itself_after_so_many_records(self) -> None:
        topic = self.topic(1)
        self.kafka.produce(topic, 100)
        group = self.group(topic)
        member = group.start(max_messages=40)
        self.assertEqual(0, member.exit_status(30))
        self.assertTrue(member.journal.shut_down)
        self.assertEqual({str(number): 1 for number in range(40)}, dict(group.times_handled))
        self.assertEqual({(topic, 0): 40}, self.kafka.committed(group.name))
        self.assertEqual([], group.violations())

    def test_the_last_records_are_acknowledged_without_others_that_follow(self) -> None:
        topic = self.topic(2)
        self.kafka.produce(topic, 10)  # fewer than are handled side by side: all are asked for before the first is done
        group = self.group(topic)
        group.start(mode="ack", handler_delay_ms=(50, 50))
        group.wait_handled(10, 30)
        group.wait_caught_up(2, 10)
        self.end_in_order(group, 2, range(10))

    def test_latest_begins_behind_what_is_there(self) -> None:
        topic = self.topic(1)
        self.kafka.produce(topic, 100)
        group = self.group(topic)
        member = group.start(reset="latest")
        group.wait_shared(1, [member])
        # Owned is not yet positioned: only what is produced after the first record seen is sure to be seen.
        produced = self.kafka.start_producing(topic, 1000, first=100, per_second=200)
        group.wait_handled(100, 30)
        produced.result(30)
        group.wait_caught_up(1, 30)
        group.stop()
        handled = sorted(map(int, group.times_handled))
        self.assertGreaterEqual(handled[0], 100)
        self.assertEqual(list(range(handled[0], 1100)), handled)
        self.assertEqual([], group.violations())

    def test_a_static_member_comes_back_without_a_rebalance(self) -> None:
        topic = self.topic(4)
        group = self.group(topic)
        stays = group.start(instance_id="stays", session_timeout_ms=20_000)
        leaves = group.start(instance_id="leaves", session_timeout_ms=20_000)
        group.wait_shared(4, [stays, leaves])
        self.kafka.produce(topic, 1000)
        group.wait_handled(1000, 30)
        with group.changed:
            share, revocations = leaves.owned, len(stays.journal.revocations)
        leaves.stop()
        self.kafka.produce(topic, 1000, first=1000)
        back = group.start(instance_id="leaves", session_timeout_ms=20_000)
        group.wait_handled(2000, 30)
        with group.changed:
            self.assertEqual(share, back.owned)
            self.assertEqual(revocations, len(stays.journal.revocations))
        self.end_in_order(group, 4, range(2000))

    def test_quiet_without_verbose(self) -> None:
        topic = self.topic(1)
        self.kafka.produce(topic, 100)
        group = self.group(topic)
        member = group.start(verbose=False)
        member.wait_for(lambda journal: sum(place.consumed for place in journal.owned.values()) == 100, 30,
                        "all are consumed")
        group.wait_caught_up(1, 30)
        group.stop()
        self.assertEqual(0, member.journal.handled)
        self.assertEqual([], group.violations())


if __name__ == "__main__":
    unittest.main(verbosity=2)
