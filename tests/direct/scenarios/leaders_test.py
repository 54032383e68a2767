# SPDX-License-Identifier: MIT
"""Three brokers, and members that fetch by themselves: leaders that move, die, restart and come back with less than they had,
and connections that stall and break.

Nothing is lost, order is kept, what was truncated is told, and requests are bounded.
"""

from __future__ import annotations

import contextlib
import time
import unittest
from collections.abc import Iterator

import scenario
from broker_proxy import FETCH, LEADER_EPOCH, LIST_OFFSETS, METADATA, ProxiedCluster
from verifiable import Group, Member

PARTITIONS = 6
PER_SECOND = 1500
NODES = (1, 2, 3)
MOST_PER_SECOND = 15
"""Requests of one kind to all brokers, from a member, while nothing is produced; an idle one fetches twice from each."""


def leading(first: int) -> list[list[int]]:
    """Replicas such that each node leads two partitions, and so that another does with another `first`."""
    return [[NODES[(first + partition + copy) % 3] for copy in range(3)] for partition in range(PARTITIONS)]


class LeadersTest(scenario.Scenario):
    kafka: ProxiedCluster

    @classmethod
    def setUpClass(cls) -> None:
        cls.kafka = ProxiedCluster(nodes=3, heap="320m")
        cls.addClassCleanup(cls.kafka.stop)
        cls.kafka.start()

    def start(self, group: Group, **settings) -> Member:
        return group.start(direct=True, session_timeout_ms=45_000, **settings)

    @contextlib.contextmanager
    def under_load(self) -> Iterator[Group]:
        """A group that has begun, of two members, for the length of the block; at its end all is well with it."""
        topic = self.unique("topic")
        self.kafka.create_topic_on(topic, leading(0))
        group = self.group(topic)
        members = [self.start(group, handler_delay_ms=(0, 1)), self.start(group, mode="ack", threads=2)]
        group.wait_shared(PARTITIONS, members)
        with self.load(topic, PER_SECOND) as load:
            group.wait_handled(PER_SECOND, 30)
            yield group
            group.wait_handled(len(group.times_handled) + PER_SECOND, 60)
        group.wait_handled(load.produced, 60)
        self.end_in_order(group, PARTITIONS, range(load.produced), bound=60)

    def all_go_on(self, group: Group) -> None:
        """Returns when each partition has had another record handled."""
        with group.changed:
            ends = {place: covered.end for place, covered in group.handled_offsets.items()}
        group.wait_for(lambda: all(group.handled_offsets[place].end > end for place, end in ends.items()), 60,
                       "a record of each partition")

    def test_leaders_that_move(self) -> None:
        with self.under_load() as group:
            for first in (1, 2, 0, 2, 1):
                self.kafka.move_leaders(group.topic, leading(first))
                self.all_go_on(group)

    def test_a_leader_that_is_killed(self) -> None:
        with self.under_load() as group:
            for node in NODES:
                self.kafka.kill(node)
                self.all_go_on(group)
                self.kafka.start(node)
                self.wait_in_step(group.topic)

    def test_nodes_that_are_restarted_in_turn(self) -> None:
        with self.under_load() as group:
            for node in NODES:
                self.kafka.stop(node)
                self.kafka.start(node)
                self.wait_in_step(group.topic)
                self.kafka.move_leaders(group.topic, leading(0))
                self.all_go_on(group)

    def wait_in_step(self, topic: str, nodes: int = 3) -> None:
        scenario.poll(lambda: all(len(row.in_step) == nodes for row in self.kafka.partitions(topic)), 60,
                      lambda: "the nodes come into step")

    def test_requests_while_a_leader_is_away_are_few(self) -> None:
        topic = self.unique("topic")
        self.kafka.create_topic_on(topic, [[1, 2, 3]] * PARTITIONS)
        group = self.group(topic)
        self.start(group)
        self.kafka.produce(topic, 600)
        group.wait_handled(600, 30)
        group.wait_caught_up(PARTITIONS, 30)
        self.kafka.kill(1)
        before, began = self.kafka.requests(), time.monotonic()
        scenario.poll(lambda: all(row.leader not in (-1, 1) for row in self.kafka.partitions(topic)), 60, lambda: "others lead")
        scenario.poll(lambda: (self.kafka.requests() - before)[FETCH] > 0, 60, lambda: "the new leaders are asked")
        seconds = time.monotonic() - began
        requests = self.kafka.requests() - before
        self.figures(f"in {seconds:.1f} s {dict(requests)}")
        for key in (FETCH, LIST_OFFSETS, METADATA, LEADER_EPOCH):
            self.assertLess(requests[key], seconds * MOST_PER_SECOND, f"requests {key}")
        self.kafka.produce(topic, 600, first=600)
        group.wait_handled(1200, 30)
        self.kafka.start(1)
        self.end_in_order(group, PARTITIONS, range(1200), bound=60)

    def truncate(self, replaced_by: int) -> None:
        """500 records that only the leader has are handled and committed; it dies, and others take their places."""
        leader, follower = 1, 2  # the third keeps the controllers' majority
        kept, gone = 1000, 500
        topic = self.unique("topic")
        self.kafka.create_topic_on(topic, [[leader, follower]], min_insync_replicas="1",
                                   unclean_leader_election_enable="true")
        group = self.group(topic)
        member = self.start(group)
        self.kafka.produce(topic, kept)
        group.wait_handled(kept, 30)
        self.kafka.stop(follower)
        self.wait_in_step(topic, 1)
        self.kafka.produce(topic, gone, first=kept)
        group.wait_handled(kept + gone, 30)
        group.wait_for(lambda: any(commit.success and kept + gone in commit.offsets.values()
                                   for commit in member.journal.commits), 60, "all is committed")

        self.kafka.kill(leader)
        with group.changed:
            member.journal.allow_jump((topic, 0), kept)
        self.kafka.start(follower)
        scenario.poll(lambda: self.kafka.partitions(topic)[0].leader == follower, 60, lambda: "the follower is elected")
        first = kept + gone
        self.kafka.produce(topic, replaced_by, first=first)
        group.wait_handled(first + replaced_by, 60)
        with group.changed:
            self.assertEqual(1, member.journal.events["log_truncated"], member.journal.event_lines)
        self.kafka.start(leader)
        self.wait_in_step(topic, 2)
        self.kafka.produce(topic, 100, first=first + replaced_by)
        group.wait_handled(first + replaced_by + 100, 30)
        self.end_in_order(group, 1, range(first + replaced_by + 100), bound=60)
        self.assertEqual(1, member.journal.events["log_truncated"])

    def test_a_truncated_log_that_ends_below_the_position(self) -> None:
        self.truncate(replaced_by=300)

    def test_a_truncated_log_that_has_grown_beyond_the_position(self) -> None:
        self.truncate(replaced_by=800)

    def test_connections_that_are_cut(self) -> None:
        with self.under_load() as group:
            for _ in range(5):
                for node in NODES:
                    self.kafka.proxy(node).cut()
                    group.wait_handled(len(group.times_handled) + PER_SECOND // 3, 30)
            self.all_go_on(group)

    def test_connections_that_stall(self) -> None:
        with self.under_load() as group:
            # For less than an answer may take, and for more; those of other leaders go on.
            for node, seconds in ((1, 3), (2, 13), (3, 13)):
                places = {(group.topic, partition) for partition, row in enumerate(self.kafka.partitions(group.topic))
                          if row.leader != node}
                proxy = self.kafka.proxy(node)
                proxy.stall()
                try:
                    end = time.monotonic() + seconds
                    while time.monotonic() < end:
                        with group.changed:
                            ends = {place: group.handled_offsets[place].end for place in places}
                        group.wait_for(lambda: all(group.handled_offsets[place].end > ends[place] for place in places), 10,
                                       "partitions of other leaders go on")
                finally:
                    proxy.resume()
                self.all_go_on(group)


if __name__ == "__main__":
    unittest.main(verbosity=2)
