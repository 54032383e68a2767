# SPDX-License-Identifier: MIT
"""Members that are turned away, because the group is full or another has their name: they say so, and join when they can."""

from __future__ import annotations

import unittest
from collections.abc import Callable

import scenario
from verifiable import Journal


def was_told(kind: str, code: str) -> Callable[[Journal], bool]:
    """Whether a member has told an event of this kind with this error."""
    return lambda journal: any(line["kind"] == kind and code in line.get("error", "") for line in journal.event_lines)


class TurnedAway(scenario.Scenario):
    def run_in_turn(self, code: str, kind: str, **settings) -> None:
        """A second member is turned away with this error, which it tells in an event of this kind, and joins when the first
        has left."""
        if scenario.JAVA_MEMBER:
            self.skipTest("Kafka's own member ends when it is turned away")
        partitions = 2
        topic = self.topic(partitions)
        group = self.group(topic)
        first = self.start_or_skip(group, **settings)
        group.wait_shared(partitions, [first])
        second = group.start(**settings)
        second.wait_for(was_told(kind, code), 30, f"it says {code}")
        self.kafka.produce(topic, 1000)
        group.wait_handled(1000, 30)
        self.assertFalse(second.owned)
        first.stop()
        group.wait_shared(partitions, [second], 60)
        self.kafka.produce(topic, 1000, first=1000)
        group.wait_handled(2000, 60)
        self.end_in_order(group, partitions, range(2000))


class FullGroupTest(TurnedAway):
    own_cluster = {"properties": {"group.max.size": "1", "group.consumer.max.size": "1"}}

    def test_a_member_is_turned_away_and_joins_later(self) -> None:
        self.run_in_turn("GROUP_MAX_SIZE_REACHED", "client_error")

    def test_with_protocol_consumer_an_application_begins_again_until_there_is_room(self) -> None:
        self.run_in_turn("GROUP_MAX_SIZE_REACHED", "run_restarted", protocol="consumer", app=True)


class InstanceInUseTest(TurnedAway):
    def test_with_protocol_consumer_an_application_begins_again_until_the_name_is_free(self) -> None:
        self.run_in_turn("UNRELEASED_INSTANCE_ID", "run_restarted", protocol="consumer", app=True, instance_id="one")


if __name__ == "__main__":
    unittest.main(verbosity=2)
