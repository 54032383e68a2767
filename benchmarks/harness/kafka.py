# SPDX-License-Identifier: MIT
"""The broker side: a Kafka of our own or one that is given, its topics, and where groups stand."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import uuid
from pathlib import Path

from .arms import FOLDER, Programs
from .processes import ArmFailed, run_tool

sys.path.insert(0, str(FOLDER.parent / "tests" / "kafka" / "harness"))
import cluster  # noqa: E402


@dataclasses.dataclass(frozen=True)
class TopicKind:
    partitions: int
    size: int
    records: int
    compression: str = "none"
    config: str = ""
    filled: int = 0  # in how many partitions the records are; 0: in all
    keys: int = 0  # how many keys there are, by Zipf's law; a key's records are in one partition. 0: there are none


@dataclasses.dataclass(frozen=True)
class Topic:
    name: str
    partitions: int
    records: int
    bytes: int
    checksum: str
    key_counts: tuple[int, ...] = ()


class Kafka:
    """A running Kafka for the benchmarks. Topics are filled once and kept until it ends."""

    def __init__(self, programs: Programs, brokers: str, folder: Path | None) -> None:
        self._programs = programs
        self._folder = folder
        self._run = uuid.uuid4().hex[:8]
        self._filled: dict[TopicKind, Topic] = {}
        self._fresh = 0
        self.brokers = brokers

    @staticmethod
    @contextlib.contextmanager
    def started(programs: Programs, folder: Path, nodes: int = 1):
        """One of our own, ended with its data in any case."""
        properties = {"log.retention.check.interval.ms": "5000"}
        with cluster.Cluster(folder, nodes=nodes, heap="1g", properties=properties) as own:
            yield Kafka(programs, own.addresses, folder)

    @property
    def processes(self) -> list[int]:
        """The ids of the brokers' processes, as far as they are ours."""
        if self._folder is None:
            return []
        return [int(path.read_text().split()[0]) for path in self._folder.glob("node-*/pid")]

    def _create(self, name: str, kind: TopicKind) -> Topic:
        command = [self._programs.tool("fill_topic"), "--brokers", self.brokers, "--topic", name,
                   "--partitions", str(kind.partitions), "--records", str(kind.records), "--size", str(kind.size),
                   "--compression", kind.compression, "--filled", str(kind.filled), "--keys", str(kind.keys)]
        if kind.config:
            command += ["--topic-config", kind.config]
        written = run_tool(command, bound=1800)
        return Topic(name, kind.partitions, written["records"], written["bytes"], written["checksum"],
                     tuple(written["key_counts"]))

    def filled(self, kind: TopicKind) -> Topic:
        """A topic of that kind, the same one each time."""
        if kind not in self._filled:
            print(f"filling: {kind.records} records of {kind.size} bytes, {kind.partitions} partitions, "
                  f"compression {kind.compression}", file=sys.stderr, flush=True)
            name = f"kgroup-benchmark-{self._run}-{len(self._filled)}"
            self._filled[kind] = self._create(name, kind)
        return self._filled[kind]

    def fresh(self, kind: TopicKind) -> Topic:
        """Another topic each time."""
        self._fresh += 1
        return self._create(f"kgroup-benchmark-{self._run}-fresh-{self._fresh}", kind)

    def group(self) -> str:
        """A group that nobody has used."""
        return f"kgroup-benchmark-{uuid.uuid4().hex[:12]}"

    def offsets(self, topic: Topic, group: str) -> tuple[list[int], list[int]]:
        """What the group has committed (-1: nothing), and the log's end, for each partition."""
        found = run_tool([self._programs.tool("group_offsets"), "--brokers", self.brokers, "--topic", topic.name,
                          "--group", group, "--partitions", str(topic.partitions)])
        return found["committed"], found["end"]

    def check_committed(self, topic: Topic, group: str) -> None:
        committed, end = self.offsets(topic, group)
        # A partition that never held a record has nothing to commit.
        short = [f"{partition}: {done} of {all_}" for partition, (done, all_) in enumerate(zip(committed, end))
                 if done != all_ and not (done == -1 and all_ == 0)]
        if short:
            raise ArmFailed(f"committed less or more than the log holds: {', '.join(short[:6])}")
