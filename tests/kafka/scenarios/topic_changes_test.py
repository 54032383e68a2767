# SPDX-License-Identifier: MIT
"""A topic that changes under a member: it grows, is deleted and made again, or loses the records the member stands at."""

from __future__ import annotations

import unittest

import scenario

SOON = {"topic.metadata.refresh.interval.ms": "1000", "topic.metadata.propagation.max.ms": "1000"}
"""How often members look for changes: five minutes and half a minute, as librdkafka has it, are long for a test."""


class TopicChangesTest(scenario.Scenario):
    def test_partitions_are_added(self) -> None:
        topic = self.topic(2)
        group = self.group(topic)
        members = [group.start(handler_delay_ms=(0, 1), properties=SOON) for _ in range(2)]
        group.wait_shared(2, members)
        self.kafka.produce(topic, 4000)
        group.wait_handled(1000, 30)
        self.kafka.add_partitions(topic, 5)
        self.kafka.produce(topic, 10_000, first=4000)
        group.wait_shared(5, members, 60)
        group.wait_handled(14_000, 60)
        self.end_in_order(group, 5, range(14_000))

    def test_the_topic_is_deleted_and_made_again(self) -> None:
        if scenario.JAVA_MEMBER:
            self.skipTest("Kafka's own member keeps the partitions of a topic that is gone")
        partitions = 3
        topic = self.topic(partitions)
        group = self.group(topic)
        member = group.start(handler_delay_ms=(0, 1), properties=SOON)
        self.kafka.produce(topic, 60_000)
        group.wait_handled(3000, 30)
        self.kafka.delete_topic(topic)
        # One made again before the members know of the deletion is, to a client that goes by names, the old one: it would
        # go on in the middle of the new log. That is Kafka's, and no member can do better.
        member.wait_for(lambda journal: not journal.owned, 60, "the member knows that there is no such topic")
        handled = len(group.times_handled)
        self.assertLess(handled, 60_000, "the topic was not being consumed when it was deleted")
        self.kafka.create_topic(topic, partitions)
        self.kafka.produce(topic, 6000, first=60_000)
        group.wait_handled(handled + 6000, 60)
        self.end_in_order(group, partitions, range(60_000, 66_000))

    def test_the_log_begins_again_behind_the_member(self) -> None:
        partitions = 3
        topic = self.topic(partitions)
        group = self.group(topic)
        member = group.start(properties=SOON)
        self.kafka.produce(topic, 6000)
        group.wait_caught_up(partitions, 30)
        for partition in range(partitions):
            member.journal.allow_jump((topic, partition), 0)
        self.kafka.delete_topic(topic)
        self.kafka.create_topic(topic, partitions)
        self.kafka.produce(topic, 600, first=6000)  # ends before the position, wherever the member sees the new log
        group.wait_handled(6600, 60)
        self.end_in_order(group, partitions, range(6600))

    def test_the_log_moves_on_beyond_the_member(self) -> None:
        topic = self.topic(1)
        group = self.group(topic)
        # The member's small buffer ends long before the records that stay; else it would have them all already.
        small = {"buffer_bytes": "65536", "expected_partitions": "1"}
        self.kafka.produce(topic, 20_000, bytes=1000)
        member = group.start(handler_delay_ms=(5, 5), java_poll_records=1, properties={**SOON, **small})
        group.wait_handled(200, 30)
        keep = 19_000
        member.journal.allow_jump((topic, 0), keep)
        self.kafka.delete_records(topic, 0, keep)
        kept = set(map(str, range(keep, 20_000)))
        group.wait_for(lambda: len(group.times_handled) >= 1000 and kept <= group.times_handled.keys(), 60,
                       "the records that stayed are handled")
        with group.changed:
            self.assertLess(len(group.times_handled), 20_000, "the member was never out of range")
            if not scenario.JAVA_MEMBER:
                self.assertGreater(member.journal.events["position_reset"], 0)
        self.end_in_order(group, 1, kept)


if __name__ == "__main__":
    unittest.main(verbosity=2)
