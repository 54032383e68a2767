# SPDX-License-Identifier: MIT
"""What the scenario tests share: a Kafka, names nobody else uses, and the oracle."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import unittest
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

from cluster import Brokers, Cluster
from verifiable import JAVA, JAVA_MEMBER, Group, Member, MemberRefused, built_program

AFTERWARDS = 10**9
"""A number above all that tests produce."""


def poll(look: Callable[[], object], bound: float, words: Callable[[], str]) -> None:
    """Looks again and again at what tells no one when it changes, until it is as wanted; not so within `bound` seconds: fails
    with these words."""
    deadline = time.monotonic() + bound
    while not look():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {bound} s: {words()}")
        time.sleep(0.1)


class Load:
    """Numbered records that keep coming, until the test has seen what it wanted to see."""

    def __init__(self, kafka: Brokers, topic: str, per_second: int) -> None:
        self.produced = 0
        self._done = threading.Event()
        self._problem: Exception | None = None
        self._thread = threading.Thread(target=self._produce, args=(kafka, topic, per_second), daemon=True)
        self._thread.start()

    def _produce(self, kafka: Brokers, topic: str, per_second: int) -> None:
        try:
            while not self._done.is_set():
                kafka.produce(topic, per_second, first=self.produced, per_second=per_second)  # a second's
                self.produced += per_second
        except Exception as problem:
            self._problem = problem

    def end(self) -> None:
        self._done.set()
        self._thread.join()
        if self._problem is not None:
            raise self._problem


class Scenario(unittest.TestCase):
    """A test against the Kafka of $KGROUP_TEST_BROKERS, or one of its own.

    A class that stops, kills or suspends brokers sets `own_cluster`, the arguments of its `Cluster`.
    """

    own_cluster: dict | None = None
    program = "verifiable_consumer"
    """What its members run."""
    kafka: Brokers

    @classmethod
    def setUpClass(cls) -> None:
        if not JAVA_MEMBER:
            built_program(cls.program)  # missing, it should be missed before Kafka is started
        given = os.environ.get("KGROUP_TEST_BROKERS")
        if cls.own_cluster is not None or not given:
            cluster = Cluster(**(cls.own_cluster or {}))
            cls.addClassCleanup(cluster.stop)
            cluster.start()
            cls.kafka = cluster
        else:
            cls.kafka = Brokers(given)
            cls.addClassCleanup(cls.kafka.close)

    def setUp(self) -> None:
        self._began = time.monotonic()

    def unique(self, stem: str) -> str:
        return f"{stem}-{uuid.uuid4().hex[:12]}"

    def topic(self, partitions: int, stem: str = "topic", **configs: str) -> str:
        name = self.unique(stem)
        self.kafka.create_topic(name, partitions, **configs)
        return name

    def group(self, topic: str, stem: str = "group", *, others: Iterable[str] = ()) -> Group:
        """On the topic, and on others."""
        group = Group(self.kafka, topic, self.unique(stem), *others)
        self.addCleanup(group.close)
        return group

    @contextlib.contextmanager
    def load(self, topic: str, per_second: int) -> Iterator[Load]:
        """Produces so many records a second, into all partitions, for the length of the block."""
        load = Load(self.kafka, topic, per_second)
        try:
            yield load
        finally:
            load.end()

    def end_in_order(self, group: Group, partitions: int, produced: Iterable[int | str], *, bound: float = 30,
                     duplicates: bool = False) -> None:
        """The oracle. Everything produced was handled, once (or more often with `duplicates`); nothing is committed that
        was not handled; at the end all is committed and owned; no member said anything impossible, and unless there may be
        `duplicates` no two owned a partition at a time; all end in order."""
        if any(member.settings.client == JAVA and member.running for member in group.members):
            # It never repeats a commit that a rebalance refused: only another record makes it commit again.
            self.kafka.produce(group.topic, partitions, first=AFTERWARDS)
        group.wait_caught_up(partitions, bound)
        group.stop()
        lost = group.lost(produced)
        self.assertEqual([], lost[:20], f"{len(lost)} records were lost ({group.summary()})")
        self.assertEqual([], group.violations()[:20])
        self.assertEqual([], group.ahead())
        if not duplicates:
            again = [number for number, times in group.times_handled.items() if times > 1]
            told = [dict(member.journal.events) for member in group.members]
            self.assertEqual([], again[:20], f"{len(again)} records were handled more than once ({group.summary()}; "
                                             f"events {told})")
            self.assertEqual([], group.owned_twice())
        self.figures(group.summary())

    def figures(self, text: str) -> None:
        print(f"[figures] {self.id().partition('.')[2]}: {text}, {time.monotonic() - self._began:.1f} s", flush=True)

    def start_or_skip(self, group: Group, **settings) -> Member:
        """Starts a member; one that refuses because its librdkafka is too old for what is asked skips the test."""
        try:
            return group.start(**settings)
        except MemberRefused as refusal:
            for line in str(refusal).splitlines():
                if "needs librdkafka" in line:
                    self.skipTest(line.strip())
            raise

    def skipTest(self, reason: str) -> NoReturn:
        print(f"[skipped] {reason}", flush=True)
        super().skipTest(reason)
