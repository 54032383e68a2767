# SPDX-License-Identifier: MIT
"""A member joins and leaves, or dies, while the handlers of the others are busy with 300,000 numbered records.

Each way of dividing the partitions is put to it; those that differ least from one that had the whole load get less of it.
"""

from __future__ import annotations

import unittest

import scenario
from verifiable import Group, Member, Place

PARTITIONS = 6
WHOLE_LOAD = 300_000
PART_LOAD = 120_000
BUSY = (0, 1)
"""Milliseconds in the handler: 50,000 records one after the other in each partition take half a minute."""
BUSIER = (0, 5)
"""Of the member that comes and goes: what it gives back, it gives back in the middle of a longer handler."""
SESSION_TIMEOUT_MS = 6000
TAKEOVER_S = SESSION_TIMEOUT_MS / 1000 + 5


class JoinLeave:
    """The scenarios; a `Scenario` adds how the group divides its partitions."""

    division: dict[str, str]

    def backlog(self, records: int) -> Group:
        topic = self.topic(PARTITIONS)
        self.kafka.produce(topic, records)
        return self.group(topic)

    def start(self, group: Group, **settings) -> Member:
        return self.start_or_skip(group, session_timeout_ms=SESSION_TIMEOUT_MS, **self.division, **settings)

    def join_and_leave(self, records: int, mode: str) -> None:
        group = self.backlog(records)
        first = self.start(group, mode=mode, handler_delay_ms=BUSY)
        group.wait_handled(records // 10, 60)
        second = self.start(group, mode=mode, handler_delay_ms=BUSIER)
        group.wait_shared(PARTITIONS, [first, second])
        second.wait_for(lambda journal: journal.handled >= 3000, 30, "3000 records of its own")
        self.assertLess(len(group.times_handled), records, "the load was over before the member left")
        second.stop()
        group.wait_shared(PARTITIONS, [first])
        group.wait_handled(records, 120)
        self.end_in_order(group, PARTITIONS, range(records))

    def kill(self, records: int) -> None:
        group = self.backlog(records)
        survivor = self.start(group, handler_delay_ms=BUSY)
        victim = self.start(group, handler_delay_ms=BUSY)
        group.wait_shared(PARTITIONS, [survivor, victim])
        group.wait_handled(records // 5, 60)
        orphaned = victim.owned
        self.assertTrue(orphaned)
        killed = victim.kill()
        survivor.wait_for(lambda journal: orphaned <= journal.first_handled.keys(), 2 * TAKEOVER_S,
                          "records of the partitions of the dead")
        with group.changed:
            takeover = max(self.assigned_after(killed, place, survivor) for place in orphaned) - killed
        self.assertLessEqual(takeover, TAKEOVER_S)
        group.wait_handled(records, 120)
        self.figures(f"taken over {takeover:.1f} s after the death")
        self.end_in_order(group, PARTITIONS, range(records), duplicates=True)

    @staticmethod
    def assigned_after(when: float, place: Place, member: Member) -> float:
        return next(at for at, places in member.journal.assignments if at >= when and place in places)


class EagerTest(JoinLeave, scenario.Scenario):
    """Every partition is given back at each rebalance."""

    division = {"assignor": "range"}

    def test_join_and_leave_with_marks(self) -> None:
        self.join_and_leave(WHOLE_LOAD, "mark")

    def test_join_and_leave_with_acks_out_of_order(self) -> None:
        self.join_and_leave(WHOLE_LOAD, "ack")

    def test_kill(self) -> None:
        self.kill(WHOLE_LOAD)


class CooperativeTest(JoinLeave, scenario.Scenario):
    """Only what moves is given back."""

    division = {"assignor": "cooperative-sticky"}

    def test_join_and_leave_with_marks(self) -> None:
        self.join_and_leave(WHOLE_LOAD, "mark")

    def test_join_and_leave_with_acks_out_of_order(self) -> None:
        self.join_and_leave(WHOLE_LOAD, "ack")

    def test_kill(self) -> None:
        self.kill(PART_LOAD)


class ConsumerProtocolTest(JoinLeave, scenario.Scenario):
    """The broker divides the partitions (KIP-848), and only what moves is given back."""

    division = {"protocol": "consumer"}

    def group(self, *arguments) -> Group:
        group = super().group(*arguments)
        self.kafka.alter_group(group.name, consumer_session_timeout_ms=str(SESSION_TIMEOUT_MS),
                               consumer_heartbeat_interval_ms="500")
        return group

    def test_join_and_leave_with_marks(self) -> None:
        self.join_and_leave(PART_LOAD, "mark")

    def test_join_and_leave_with_acks_out_of_order(self) -> None:
        self.join_and_leave(PART_LOAD, "ack")

    def test_kill(self) -> None:
        self.kill(PART_LOAD)


if __name__ == "__main__":
    unittest.main(verbosity=2)
