# SPDX-License-Identifier: MIT
"""Brokers that are away: all of them for longer than the session, and the one that coordinates the group."""

from __future__ import annotations

import time
import unittest

import scenario

SESSION_TIMEOUT_MS = 6000
SETTINGS = {"session_timeout_ms": SESSION_TIMEOUT_MS, "handler_delay_ms": (0, 1)}


class WholeClusterTest(scenario.Scenario):
    own_cluster = {}

    def test_down_for_longer_than_the_session(self) -> None:
        partitions = 4
        topic = self.topic(partitions)
        group = self.group(topic)
        members = [group.start(**SETTINGS) for _ in range(2)]
        group.wait_shared(partitions, members)
        produced = self.kafka.start_producing(topic, 15_000, per_second=1000)
        group.wait_handled(3000, 30)

        self.kafka.stop(1)
        down = time.monotonic()
        # The outage's length is the scenario itself: nothing that could be asked tells when it has been long enough.
        time.sleep(SESSION_TIMEOUT_MS / 1000 + 2)
        self.assertTrue(all(member.running for member in members))
        self.kafka.start()
        self.assertGreater(time.monotonic() - down, SESSION_TIMEOUT_MS / 1000)

        before = [member.journal.handled for member in members]
        for member, handled in zip(members, before):
            member.wait_for(lambda journal: journal.handled > handled + 500, 60, "it goes on")
        acknowledged = produced.result(90).acknowledged()
        group.wait_handled(len(acknowledged), 60)
        self.end_in_order(group, partitions, acknowledged, duplicates=True)


    def test_an_outage_is_told_until_a_broker_answers(self) -> None:
        partitions = 2
        topic = self.topic(partitions)
        group = self.group(topic)
        member = group.start(**SETTINGS)
        group.wait_shared(partitions, [member])

        def told(kind: str) -> int:
            return sum(line["kind"] == kind for line in member.journal.event_lines)

        for outage in (1, 2):
            losses = told("claims_lost")
            self.kafka.kill()
            member.wait_for(lambda _: told("brokers_unreachable") == outage, 30, "the outage is told")
            member.wait_for(lambda _: told("claims_lost") > losses, 30, "the session times out on the member's side")
            # It asks every five seconds: two questions later the outage must be told still.
            time.sleep(11)
            self.assertEqual(outage - 1, told("brokers_reachable"))
            self.kafka.start()
            member.wait_for(lambda _: told("brokers_reachable") == outage, 30, "its end is told")
            group.wait_shared(partitions, [member])
        # Read to the end: what began has ended.
        self.kafka.produce(topic, 100)
        group.wait_handled(100, 60)
        group.stop()
        self.assertEqual(2, told("brokers_unreachable"))
        self.assertEqual(2, told("brokers_reachable"))


class CoordinatorTest(scenario.Scenario):
    own_cluster = {"nodes": 3, "heap": "320m", "properties": {"offsets.topic.num.partitions": "1"}}

    def test_killed_during_commits_and_back(self) -> None:
        partitions = 6
        topic = self.topic(partitions)
        group = self.group(topic)
        members = [group.start(**SETTINGS, properties={"auto_commit_interval": "50"}) for _ in range(2)]
        group.wait_shared(partitions, members)
        produced = self.kafka.start_producing(topic, 18_000, per_second=1500)
        group.wait_handled(3000, 30)

        coordinator = self.kafka.coordinator(group.name)
        commits = [sum(commit.success for commit in member.journal.commits) for member in members]
        self.kafka.kill(coordinator)
        for member, committed in zip(members, commits):
            member.wait_for(lambda journal: sum(commit.success for commit in journal.commits[committed:]) >= 10, 60,
                            "it commits again, to another coordinator")
        self.assertNotEqual(coordinator, self.kafka.coordinator(group.name))
        self.kafka.start(coordinator)

        acknowledged = produced.result(90).acknowledged()
        group.wait_handled(len(acknowledged), 60)
        self.end_in_order(group, partitions, acknowledged, duplicates=True)


if __name__ == "__main__":
    unittest.main(verbosity=2)
