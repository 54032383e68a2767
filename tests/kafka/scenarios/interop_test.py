# SPDX-License-Identifier: MIT
"""A group whose members are of different clients: ours with those of sarama, of franz-go and of Kafka's own Java.

Members join and leave while records keep coming, so that both sides divide the partitions for the other (the oldest member of a
group with a client-side protocol does), and both give to and take from the other.
"""

from __future__ import annotations

import types
import unittest

import scenario
from verifiable import FRANZ_GO, JAVA, KGROUP, SARAMA, ClientMissing, Covered, Group, Member, Settings, Tenure, need_client

PARTITIONS = 6
PER_SECOND = 3000
BUSY = (0, 1)
"""Milliseconds in the handler."""
SHARE = 200
"""Records that each member handles between one change and the next."""


class Interop:
    """The scenario; a `Scenario` adds with whom, and how the group divides its partitions."""

    other: str
    division: dict[str, str]

    @classmethod
    def setUpClass(cls) -> None:
        try:
            need_client(cls.other)
        except ClientMissing as missing:
            print(f"[skipped] {missing}", flush=True)
            raise unittest.SkipTest(str(missing)) from None
        super().setUpClass()

    def start(self, group: Group, client: str) -> Member:
        return self.start_or_skip(group, client=client, handler_delay_ms=BUSY, **self.division)

    def share(self, group: Group, *members: Member) -> None:
        group.wait_shared(PARTITIONS, members)
        with group.changed:
            handled = {member: member.journal.handled for member in members}
        for member in members:
            member.wait_for(lambda journal: journal.handled >= handled[member] + SHARE, 30, "work of its own")

    def test_joins_and_leaves(self) -> None:
        topic = self.topic(PARTITIONS)
        group = self.group(topic)
        if self.division.get("protocol") == "consumer":
            self.kafka.alter_group(group.name, consumer_heartbeat_interval_ms="500")
        with self.load(topic, PER_SECOND) as load:
            theirs = self.start(group, self.other)
            ours = self.start(group, KGROUP)
            self.share(group, theirs, ours)
            another = self.start(group, KGROUP)
            self.share(group, theirs, ours, another)
            theirs.stop()
            self.share(group, ours, another)
            theirs = self.start(group, self.other)
            self.share(group, ours, another, theirs)
            ours.stop()
            self.share(group, another, theirs)
        group.wait_handled(load.produced, 60)
        # Java's does not repeat a commit that a rebalance refused: who takes over handles its last records again.
        self.end_in_order(group, PARTITIONS, range(load.produced), duplicates=self.other == JAVA)
        self.assertEqual([], group.owned_twice())
        self.assertEqual([], group.left_uncommitted(KGROUP))
        for member in group.members:
            if member.settings.client == KGROUP:
                self.assertEqual([], [line for line in member.journal.event_lines if line["level"] == "error"])


class SaramaRangeTest(Interop, scenario.Scenario):
    other = SARAMA
    division = {"assignor": "range"}


class SaramaCooperativeTest(Interop, scenario.Scenario):
    other = SARAMA
    division = {"assignor": "cooperative-sticky"}


class FranzGoRangeTest(Interop, scenario.Scenario):
    other = FRANZ_GO
    division = {"assignor": "range"}


class FranzGoCooperativeTest(Interop, scenario.Scenario):
    other = FRANZ_GO
    division = {"assignor": "cooperative-sticky"}


class FranzGoConsumerProtocolTest(Interop, scenario.Scenario):
    other = FRANZ_GO
    division = {"protocol": "consumer"}


class JavaRangeTest(Interop, scenario.Scenario):
    other = JAVA
    division = {"assignor": "range"}


class JavaCooperativeTest(Interop, scenario.Scenario):
    other = JAVA
    division = {"assignor": "cooperative-sticky"}


class JavaConsumerProtocolTest(Interop, scenario.Scenario):
    other = JAVA
    division = {"protocol": "consumer"}


class OwnersTest(unittest.TestCase):
    """That two owners at a time are found, and records that were handled and not committed."""

    def group_of(self, *tenures: tuple[str, float, float, range]) -> Group:
        group = Group(None, "t", "g")
        for name, since, until, offsets in tenures:
            handled = Covered()
            for offset in offsets:
                handled.add(offset)
            group.members.append(types.SimpleNamespace(name=name, settings=Settings(client=KGROUP if name == "a" else JAVA),
                                                       tenures=[Tenure(("t", 0), since, until, handled)]))
        return group

    def test_one_after_the_other(self) -> None:
        group = self.group_of(("a", 1, 2, range(5)), ("b", 2, 3, range(5, 9)), ("a", 3.5, float("inf"), range(9, 12)))
        self.assertEqual(([], []), (group.owned_twice(), group.left_uncommitted(KGROUP)))

    def test_before_it_was_given_back(self) -> None:
        group = self.group_of(("a", 1, 2, range(0)), ("b", 1.5, 3, range(0)))
        self.assertEqual(["t[0]: b owned it from 1.500, a until 2.000"], group.owned_twice())
        group = self.group_of(("b", 1, float("inf"), range(0)), ("a", 2, 3, range(0)))
        self.assertEqual(["t[0]: a owned it from 2.000, b until inf"], group.owned_twice())

    def test_handled_and_not_committed(self) -> None:
        group = self.group_of(("a", 1, 2, range(5)), ("b", 2, 3, range(0)), ("b", 3, 4, range(4, 9)))
        self.assertEqual(["t[0]: a handled all below 5, b began at 4"], group.left_uncommitted(KGROUP))
        self.assertEqual([], group.left_uncommitted(JAVA))


if __name__ == "__main__":
    unittest.main(verbosity=2)
