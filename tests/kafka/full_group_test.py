"""A group that is full: the member that is turned away says so, and joins when another has left."""

from __future__ import annotations

import unittest

import scenario


class FullGroupTest(scenario.Scenario):
    own_cluster = {"properties": {"group.max.size": "1"}}

    def test_a_member_is_turned_away_and_joins_later(self) -> None:
        if scenario.JAVA_MEMBER:
            self.skipTest("Kafka's own member ends when the group is full")
        partitions = 2
        topic = self.topic(partitions)
        group = self.group(topic)
        first = group.start()
        group.wait_shared(partitions, [first])
        second = group.start()

        def turned_away(journal) -> bool:
            return any("GROUP_MAX_SIZE_REACHED" in line.get("error", "") for line in journal.event_lines)

        second.wait_for(turned_away, 30, "it says that the group is full")
        self.kafka.produce(topic, 1000)
        group.wait_handled(1000, 30)
        self.assertFalse(second.owned)
        first.stop()
        group.wait_shared(partitions, [second], 60)
        self.kafka.produce(topic, 1000, first=1000)
        group.wait_handled(2000, 60)
        self.end_in_order(group, partitions, range(2000))


if __name__ == "__main__":
    unittest.main(verbosity=2)
