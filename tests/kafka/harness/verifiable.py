# SPDX-License-Identifier: MIT
"""Members of a group as processes, and whether what they say about themselves can be true.

A member is Kafka's VerifiableConsumer or ours (`verifiable_consumer`), or one of another client (`interop/`): a program that
reports its life as JSON lines on standard output. `Journal` checks the lines of one member against Kafka's invariants,
`Member` runs the process, `Group` puts the members of one group together and against what Kafka itself says.

What the lines mean, and what a member must keep to:

    partitions_assigned{partitions}    from now on these are owned too; before the first record of them; from ours also
                                       {memberId,generation}: who the member is, and since which rebalance
    partitions_revoked{partitions}     no longer owned, also when lost; after the last record and the last commit of them
    record_data{topic,partition,offset,value}   with --verbose: this record is handled; before it is marked
    records_consumed{count,partitions[{topic,partition,count,minOffset,maxOffset}]}   in delivery order, without a gap;
                                       before a commit that covers them
    offsets_committed{success,error,offsets[{topic,partition,offset}]}   the broker's answer to a commit
    partitions_paused{partitions}      no record of these follows, ours only
    partitions_resumed{partitions}     until this
    event{kind,...}                    with --event-log, ours only: a kgroup::event
    startup_complete                   its configuration is accepted; nothing else comes before
    shutdown_complete                  it has left the group; no record, commit or assignment comes after
"""

from __future__ import annotations

import bisect
import collections
import dataclasses
import fcntl
import functools
import json
import math
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from cluster import Brokers, HERE, SHORT_LIVED, dies_with_parent, java_command

Place = tuple[str, int]  # topic, partition

JAVA_MEMBER = os.environ.get("KGROUP_TEST_MEMBER", "kgroup") == "java"
"""Whether members are Kafka's own instead of ours: a known good member, to prove the tests with."""
DIRECT_MEMBER = os.environ.get("KGROUP_TEST_MEMBER", "kgroup") == "direct"
"""Whether our members fetch by themselves where a test does not say."""

KGROUP, SARAMA, FRANZ_GO, JAVA = "kgroup", "sarama", "franz-go", "java"

ASSIGNORS = {
    "range": "org.apache.kafka.clients.consumer.RangeAssignor",
    "roundrobin": "org.apache.kafka.clients.consumer.RoundRobinAssignor",
    "cooperative-sticky": "org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
}


class MemberFailed(Exception):
    """A member ended, stayed silent or refused; the text holds its last words."""


class MemberRefused(MemberFailed):
    """A member ended before it had started: it does not take its configuration."""


class ClientMissing(Exception):
    """This machine lacks what members of a client are built with, or run on; the text says what."""


def built_program(name: str) -> Path:
    """A program of this build: below $KGROUP_BUILD_DIR, or else the newest below the checkout's build folder."""
    root = Path(os.environ.get("KGROUP_BUILD_DIR") or HERE.parents[2] / "build")
    found = [path for path in root.rglob(name) if path.is_file() and os.access(path, os.X_OK)]
    if not found:
        raise MemberFailed(f"no program {name} below {root}: build the target {name}, or set KGROUP_BUILD_DIR")
    return max(found, key=lambda path: path.stat().st_mtime)


@functools.cache
def go_members() -> Path:
    """The folder of the members in Go, below the build folder, with the sources as they are now."""
    sources = HERE.parent / "scenarios" / "interop"
    if shutil.which("go") is None:
        raise ClientMissing("members in Go need Go, which is not installed")
    wanted = re.search(r"^go (\d+)\.(\d+)", (sources / "go.mod").read_text(), re.MULTILINE)
    # Asked there, so that a Go that fetches the version which go.mod wants has done so.
    version = subprocess.run(["go", "version"], cwd=sources, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    there = re.search(r"go(\d+)\.(\d+)", version.stdout)
    if not there or tuple(map(int, there.groups())) < tuple(map(int, wanted.groups())):
        raise ClientMissing(f"members in Go need {wanted[0]}: {(version.stdout + version.stderr).strip()}")
    folder = Path(os.environ.get("KGROUP_BUILD_DIR") or HERE.parents[2] / "build").absolute() / "interop"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test may be building them at this moment
        outcome = subprocess.run(["go", "build", "-buildvcs=false", "-o", f"{folder}/", "./sarama", "./franz-go"], cwd=sources,
                                 stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if outcome.returncode != 0:
        raise MemberFailed(f"the members in Go could not be built:\n{outcome.stderr[-4000:]}")
    return folder


def need_client(client: str) -> None:
    """Raises `ClientMissing`, or else members of that client can be started."""
    if client in (SARAMA, FRANZ_GO):
        go_members()
    elif client == JAVA and shutil.which("java") is None:
        raise ClientMissing("members in Java need Java, which is not installed")


# ---------------------------------------------------------------- what one member says


class Covered:
    """A set of offsets, kept as runs: nearly all of it is one."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._starts)

    @property
    def lowest(self) -> int:
        return self._starts[0]

    @property
    def end(self) -> int:
        return self._ends[-1]

    def runs(self) -> Iterable[tuple[int, int]]:
        """Where each begins, and where it ends."""
        return zip(self._starts, self._ends)

    def add(self, offset: int) -> bool:
        """Whether it was new."""
        if self._ends and offset == self._ends[-1]:
            self._ends[-1] += 1
            return True
        after = bisect.bisect_right(self._starts, offset)
        if after and offset < self._ends[after - 1]:
            return False
        joins_left = after > 0 and self._ends[after - 1] == offset
        joins_right = after < len(self._starts) and self._starts[after] == offset + 1
        if joins_left and joins_right:
            self._ends[after - 1] = self._ends.pop(after)
            del self._starts[after]
        elif joins_left:
            self._ends[after - 1] += 1
        elif joins_right:
            self._starts[after] -= 1
        else:
            self._starts.insert(after, offset)
            self._ends.insert(after, offset + 1)
        return True

    def holes(self, first: int, end: int) -> list[tuple[int, int]]:
        """What of [first, end) is missing."""
        missing = []
        for start, stop in zip(self._starts, self._ends):
            if start >= end:
                break
            if first < start:
                missing.append((first, start))
            first = max(first, stop)
        if first < end:
            missing.append((first, end))
        return missing


@dataclasses.dataclass
class Ownership:
    """One partition from its assignment to its revocation."""

    since: float = 0
    position: int | None = None
    committed: int | None = None
    consumed: int = 0
    records: int = 0
    last_record: int | None = None
    handled: Covered = dataclasses.field(default_factory=Covered)


@dataclasses.dataclass(frozen=True)
class Tenure:
    """From when to when, in seconds of `time.time()`, a partition was owned, and which records were handled meanwhile."""

    place: Place
    since: float
    until: float
    handled: Covered = dataclasses.field(default_factory=Covered, compare=False)


@dataclasses.dataclass(frozen=True)
class Commit:
    at: float
    success: bool
    error: str
    offsets: dict[Place, int]


class Journal:
    """The life of one member as it tells it, line by line, and what is impossible in it.

    `ordered` says that records are handled in offset order in each claim (not so when they are acked out of order).
    """

    def __init__(self, *, ordered: bool = True, verbose: bool = True) -> None:
        self.ordered = ordered
        self.verbose = verbose
        self.started = False
        self.shut_down = False
        self.owned: dict[Place, Ownership] = {}
        self.violations: list[str] = []
        self.commits: list[Commit] = []
        self.assignments: list[tuple[float, list[Place]]] = []
        self.revocations: list[tuple[float, list[Place]]] = []
        self.tenures: list[Tenure] = []
        """Of what is owned no longer."""
        self.member_id: str | None = None
        self.generation = -1
        """As of the last assignment, where the member tells; -1: not known."""
        self.paused: set[Place] = set()
        self.events: collections.Counter[str] = collections.Counter()
        self.event_lines: list[dict] = []
        self.handled = 0
        self.first_handled: dict[Place, float] = {}
        """When the first record of each partition owned was handled, since it has been owned."""
        self._jumps: set[tuple[Place, int]] = set()

    def allow_jump(self, place: Place, to: int) -> None:
        """The log has no record between where the member stands and `to`: it may go on there, forward or back."""
        self._jumps.add((place, to))

    def feed(self, line: dict) -> None:
        name = line.get("name")
        if self.shut_down and name in ("record_data", "records_consumed", "offsets_committed", "partitions_assigned"):
            self._impossible(f"{name} after shutdown_complete")
        receive = self._receivers.get(name)
        if receive is not None:
            receive(self, line)

    def _impossible(self, what: str) -> None:
        self.violations.append(what)

    def _startup(self, line: dict) -> None:
        self.started = True

    def _assigned(self, line: dict) -> None:
        places = _places(line)
        self.assignments.append((_at(line), places))
        for place in places:
            if place in self.owned:
                self._impossible(f"{_show(place)} was assigned while it was owned")
            self.owned[place] = Ownership(_at(line))
        if places:
            self.member_id = line.get("memberId")
            self.generation = line.get("generation", -1)

    def _revoked(self, line: dict) -> None:
        places = _places(line)
        self.revocations.append((_at(line), places))
        for place in places:
            self.first_handled.pop(place, None)
            self.paused.discard(place)
            if place not in self.owned:
                self._impossible(f"{_show(place)} was revoked and not owned")
            else:
                ownership = self.owned.pop(place)
                self._close(place, ownership)
                self.tenures.append(Tenure(place, ownership.since, _at(line), ownership.handled))

    def _close(self, place: Place, ownership: Ownership) -> None:
        if self.verbose and ownership.consumed != ownership.records:
            self._impossible(f"{_show(place)}: {ownership.consumed} records consumed, {ownership.records} shown")

    def _consumed(self, line: dict) -> None:
        if line["count"] != sum(part["count"] for part in line["partitions"]):
            self._impossible(f"{line['count']} records consumed are not the sum of the partitions'")
        for part in line["partitions"]:
            place, first, last = (part["topic"], part["partition"]), part["minOffset"], part["maxOffset"]
            ownership = self.owned.get(place)
            if ownership is None:
                self._impossible(f"records of {_show(place)} were consumed, which is not owned")
                continue
            if ownership.position is not None and first != ownership.position and (place, first) not in self._jumps:
                self._impossible(f"{_show(place)}: consumed from {first}, the position was {ownership.position}")
            if part["count"] != last - first + 1 and not any(p == place and first < to <= last for p, to in self._jumps):
                self._impossible(f"{_show(place)}: {part['count']} records from {first} to {last}")
            ownership.position = last + 1
            ownership.consumed += part["count"]

    def _record(self, line: dict) -> None:
        place, offset = (line["topic"], line["partition"]), line["offset"]
        self.handled += 1
        self.first_handled.setdefault(place, _at(line))
        ownership = self.owned.get(place)
        if ownership is None:
            self._impossible(f"{_show(place, offset)} was handled, the partition is not owned")
            return
        if place in self.paused:
            self._impossible(f"{_show(place, offset)} was handled, the partition is paused")
        jump = (place, offset) in self._jumps
        last = ownership.last_record
        if jump and last is not None and offset <= last:
            # Another log from here on: what was handled and committed of the old one says nothing about it.
            ownership.handled, ownership.committed = Covered(), None
        elif self.ordered and last is not None and offset != last + 1 and not jump:
            self._impossible(f"{_show(place, offset)} was handled after {last}")
        if ownership.committed is not None and offset < ownership.committed:
            self._impossible(f"{_show(place, offset)} was handled when {ownership.committed} had been committed")
        if not ownership.handled.add(offset):
            self._impossible(f"{_show(place, offset)} was handled twice in one assignment")
        ownership.last_record = offset
        ownership.records += 1

    def _committed(self, line: dict) -> None:
        offsets = {(entry["topic"], entry["partition"]): entry["offset"] for entry in line["offsets"]}
        self.commits.append(Commit(_at(line), line["success"], str(line.get("error") or ""), offsets))
        if not line["success"]:
            return
        for place, offset in offsets.items():
            ownership = self.owned.get(place)
            if ownership is None:
                self._impossible(f"{_show(place, offset)} was committed, the partition is not owned")
                continue
            if ownership.position is None or offset > ownership.position:
                self._impossible(f"{_show(place, offset)} was committed beyond the position {ownership.position}")
            if ownership.committed is not None and offset < ownership.committed:
                self._impossible(f"{_show(place, offset)} was committed after {ownership.committed}")
            if self.verbose:
                self._covered(place, ownership, offset)
            ownership.committed = offset

    def _covered(self, place: Place, ownership: Ownership, offset: int) -> None:
        handled = ownership.handled
        if not handled or offset > handled.end:
            self._impossible(f"{_show(place, offset)} was committed before everything below it was handled")
            return
        for first, end in handled.holes(handled.lowest, offset):
            if (place, end) not in self._jumps:
                self._impossible(f"{_show(place, offset)} was committed, {first} to {end - 1} were not handled")

    def _paused(self, line: dict) -> None:
        self.paused.update(_places(line))

    def _resumed(self, line: dict) -> None:
        self.paused.difference_update(_places(line))

    def _event(self, line: dict) -> None:
        self.events[line.get("kind", "")] += 1
        self.event_lines.append(line)

    def _shutdown(self, line: dict) -> None:
        self.shut_down = True
        for place, ownership in self.owned.items():
            self._close(place, ownership)

    _receivers = {
        "startup_complete": _startup,
        "partitions_assigned": _assigned,
        "partitions_revoked": _revoked,
        "partitions_lost": _revoked,
        "records_consumed": _consumed,
        "record_data": _record,
        "offsets_committed": _committed,
        "partitions_paused": _paused,
        "partitions_resumed": _resumed,
        "event": _event,
        "shutdown_complete": _shutdown,
    }


def _places(line: dict) -> list[Place]:
    return [(entry["topic"], entry["partition"]) for entry in line["partitions"]]


def _at(line: dict) -> float:
    """When the member said it, in seconds of `time.time()`."""
    return line.get("timestamp", 0) / 1000


def _show(place: Place, offset: int | None = None) -> str:
    return f"{place[0]}[{place[1]}]" + ("" if offset is None else f"@{offset}")


# ---------------------------------------------------------------- the process


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a member is started. What only our member knows is left out for those of other clients."""

    client: str = JAVA if JAVA_MEMBER else KGROUP
    topics: tuple[str, ...] = ()
    """What it subscribes to; none named: the group's topics."""
    assignor: str = "range"
    protocol: str = "classic"
    instance_id: str | None = None
    session_timeout_ms: int = 6000
    heartbeat_interval_ms: int = 500
    """This and the session timeout are the group's own, and not the member's, with the consumer protocol."""
    reset: str = "earliest"
    verbose: bool = True
    max_messages: int | None = None
    properties: dict[str, str] = dataclasses.field(default_factory=dict)
    """librdkafka's, or fields of kgroup::config; those that Java has by the same name are passed to it too."""
    mode: str = "mark"
    handler_delay_ms: tuple[int, int] = (0, 0)
    await_ms: tuple[int, int] | None = None
    """(milliseconds, offset): the handler awaits so long at the record of that offset."""
    block_ms: tuple[int, int] | None = None
    """The same, blocking its thread."""
    pause_ms: tuple[int, int] | None = None
    """(milliseconds, offset): the record of that offset pauses its partition so long."""
    threads: int = 1
    app: bool = False
    """It runs in a consumer_app."""
    direct: bool = DIRECT_MEMBER
    """It fetches by itself; a record that came by librdkafka makes it fail at its end."""
    java_poll_records: int = 20
    """Java's member has no handler to slow down: this many records between two commits do it instead."""

    def command(self, brokers: str, topics: tuple[str, ...], group: str, folder: Path) -> list[str]:
        common = ["--bootstrap-server", brokers, "--topic", ",".join(self.topics or topics), "--group-id", group,
                  "--group-protocol", self.protocol, "--reset-policy", self.reset]
        if self.protocol == "classic":
            common += ["--session-timeout", str(self.session_timeout_ms),
                       "--assignment-strategy", ASSIGNORS[self.assignor] if self.client == JAVA else self.assignor]
        if self.instance_id is not None:
            common += ["--group-instance-id", self.instance_id]
        if self.verbose:
            common += ["--verbose"]
        if self.max_messages is not None:
            common += ["--max-messages", str(self.max_messages)]
        properties = dict(self.properties)
        if self.protocol == "classic":
            properties["heartbeat.interval.ms"] = str(self.heartbeat_interval_ms)
        if self.client == JAVA:
            return self._java(common, properties, folder)
        return self._ours(common, properties) if self.client == KGROUP else self._go(common)

    @property
    def orderly(self) -> int:
        """The exit status after SIGTERM; Java ends by its signal whatever it did about it."""
        return 128 + signal.SIGTERM if self.client == JAVA else 0

    def _ours(self, common: list[str], properties: dict[str, str]) -> list[str]:
        command = [str(built_program("verifiable_consumer")), *common, "--event-log", "--mode", self.mode,
                   "--handler-delay-ms", "{}:{}".format(*self.handler_delay_ms)]
        command += ["--app"] if self.app else ["--threads", str(self.threads)]
        if self.direct:
            command += ["--direct"]
        if self.await_ms is not None:
            command += ["--handler-await-ms", "{}@{}".format(*self.await_ms)]
        if self.block_ms is not None:
            command += ["--handler-block-ms", "{}@{}".format(*self.block_ms)]
        if self.pause_ms is not None:
            command += ["--handler-pause-ms", "{}@{}".format(*self.pause_ms)]
        for key, value in properties.items():
            command += ["--property", f"{key}={value}"]
        return command

    def _go(self, common: list[str]) -> list[str]:
        return [str(go_members() / self.client), *common, "--heartbeat-interval", str(self.heartbeat_interval_ms),
                "--handler-delay-ms", "{}:{}".format(*self.handler_delay_ms)]

    def _java(self, common: list[str], properties: dict[str, str], folder: Path) -> list[str]:
        same = {"max.poll.interval.ms", "heartbeat.interval.ms", "fetch.wait.max.ms"}
        other = {"topic.metadata.refresh.interval.ms": "metadata.max.age.ms"}
        lines = [f"max.poll.records={self.java_poll_records}"]
        lines += [f"{other.get(key, key)}={value}" for key, value in properties.items() if key in same or key in other]
        (folder / "consumer.properties").write_text("\n".join(lines) + "\n")
        return java_command("org.apache.kafka.tools.VerifiableConsumer", *common,
                            "--command-config", str(folder / "consumer.properties"), options=SHORT_LIVED)


class Member:
    """One process. Its journal is guarded by the group's condition: read it inside `wait_for`, or after it has ended."""

    def __init__(self, group: Group, name: str, settings: Settings) -> None:
        self.name = name
        self.settings = settings
        self.journal = Journal(ordered=settings.mode == "mark", verbose=settings.verbose)
        self._group = group
        self._folder = tempfile.TemporaryDirectory(prefix="kgroup-member-")
        folder = Path(self._folder.name)
        command = settings.command(group.brokers.addresses_for_members, group.topics, group.name, folder)
        self._errors = open(folder / "stderr", "wb")
        # The kernel ends the member with this *thread*: members are started from the main one.
        self._process = subprocess.Popen(dies_with_parent(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                         stderr=self._errors)
        self._ended_at: float | None = None
        self._reader = threading.Thread(target=self._read, daemon=True, name=f"member-{name}")
        self._reader.start()

    def _read(self) -> None:
        for raw in self._process.stdout:
            if not raw.endswith(b"\n"):
                break  # killed in the middle of a line
            try:
                line = json.loads(raw)
            except ValueError:
                line = None
            with self._group.changed:
                if isinstance(line, dict):
                    self.journal.feed(line)
                    if line.get("name") == "record_data":
                        self._group.count(line)
                else:
                    self.journal.violations.append(f"not a JSON object: {raw[:200]!r}")
                self._group.changed.notify_all()
        with self._group.changed:
            self._ended_at = time.time()
            self._group.changed.notify_all()

    @property
    def running(self) -> bool:
        return self._ended_at is None

    @property
    def owned(self) -> set[Place]:
        return set(self.journal.owned)

    @property
    def tenures(self) -> list[Tenure]:
        """What it owned and owns; the dead own nothing."""
        end = math.inf if self.running else self._ended_at
        return self.journal.tenures + [Tenure(place, ownership.since, end, ownership.handled)
                                       for place, ownership in self.journal.owned.items()]

    def wait_for(self, condition: Callable[[Journal], object], bound: float, what: str) -> None:
        """Returns when the condition on the journal holds; raises when the member ends or `bound` seconds pass before."""

        def look() -> bool:
            if condition(self.journal):
                return True
            if not self.running:
                refused = not self.journal.started
                raise (MemberRefused if refused else MemberFailed)(
                    f"member {self.name} ended before: {what}\n{self.last_words()}")
            return False

        self._group.wait_for(look, bound, f"member {self.name}: {what}")

    def wait_started(self, bound: float = 20) -> None:
        self.wait_for(lambda journal: journal.started, bound, "startup_complete")

    def stop(self, bound: float = 30) -> None:
        """SIGTERM; it must say that it has shut down, and exit as it should."""
        self._send(signal.SIGCONT)
        self._send(signal.SIGTERM)
        try:
            status = self.exit_status(bound)
        except subprocess.TimeoutExpired:
            words = self.last_words()
            self.kill()
            raise MemberFailed(f"member {self.name} did not end within {bound} s of SIGTERM\n{words}") from None
        if status != self.settings.orderly or not self.journal.shut_down:
            raise MemberFailed(f"member {self.name} did not end in order\n{self.last_words()}")

    def exit_status(self, bound: float) -> int:
        """Waits until it ends by itself."""
        status = self._process.wait(bound)
        self._reader.join()
        return status

    def kill(self) -> float:
        """kill -9; when, in seconds of `time.time()`."""
        at = self._send(signal.SIGKILL)
        self.exit_status(10)
        return at

    def suspend(self) -> float:
        """SIGSTOP; when."""
        return self._send(signal.SIGSTOP)

    def resume(self) -> float:
        """SIGCONT; when."""
        return self._send(signal.SIGCONT)

    def _send(self, number: int) -> float:
        at = time.time()
        self._process.send_signal(number)
        return at

    def last_words(self) -> str:
        with open(self._errors.name, errors="replace") as errors:
            tail = errors.read()[-3000:]
        return (f"exit status {self._process.poll()}, owns {sorted(self.journal.owned)}, handled {self.journal.handled}, "
                f"events {dict(self.journal.events)}\n{tail}")

    def close(self) -> None:
        """Kills it if it runs, and forgets its output."""
        self.kill()
        self._process.stdout.close()
        self._errors.close()
        self._folder.cleanup()


# ---------------------------------------------------------------- the group


class Group:
    """The members of one group, on one topic or more. `close()` kills those that still run."""

    def __init__(self, brokers: Brokers, topic: str, name: str, *others: str) -> None:
        self.brokers = brokers
        self.topic = topic
        self.topics = (topic, *others)
        self.name = name
        self.members: list[Member] = []
        self.changed = threading.Condition()
        self.times_handled: collections.Counter[str] = collections.Counter()
        self.handled_offsets: dict[Place, Covered] = collections.defaultdict(Covered)

    def close(self) -> None:
        for member in self.members:
            member.close()

    def start(self, **settings) -> Member:
        """Starts a member and returns when it says that it has started."""
        member = self.launch(**settings)
        member.wait_started()
        return member

    def launch(self, **settings) -> Member:
        """Starts a member and does not wait."""
        member = Member(self, f"{self.name}/{len(self.members) + 1}", Settings(**settings))
        self.members.append(member)
        return member

    def count(self, line: dict) -> None:
        """Called by a member's reader for each record handled."""
        self.times_handled[(line["value"] or "").partition(" ")[0]] += 1
        self.handled_offsets[line["topic"], line["partition"]].add(line["offset"])

    def wait_for(self, condition: Callable[[], object], bound: float, what: str) -> None:
        """Looks at each line of a member; an impossible one ends the wait at once."""
        deadline = time.monotonic() + bound
        with self.changed:
            while not condition():
                if any(member.journal.violations for member in self.members):
                    raise MemberFailed(f"impossible, while waiting for {what}: {self.violations()[:10]}")
                if not self.changed.wait(deadline - time.monotonic()) and time.monotonic() >= deadline:
                    words = "\n".join(f"{member.name}: {member.last_words()}"
                                      for member in self.members if member.running)
                    raise MemberFailed(f"not within {bound} s: {what} ({self.summary()})\n{words}")

    def wait_handled(self, records: int, bound: float) -> None:
        """Until so many different records were handled by the group; a member that ends unasked ends the wait."""
        self.wait_for(lambda: len(self.times_handled) >= records or self._nobody_left(), bound,
                      f"{records} records handled")
        if len(self.times_handled) < records:
            raise MemberFailed("no member is left\n" + "\n".join(member.last_words() for member in self.members))

    def _nobody_left(self) -> bool:
        return not any(member.running for member in self.members)

    def wait_shared(self, partitions: int, members: Iterable[Member], bound: float = 30) -> None:
        """Until every partition is owned by one of the members, and each of them owns some."""
        everyone = list(members)

        def shared() -> bool:
            owned = [place for member in everyone for place in member.journal.owned]
            return (len(owned) == len(set(owned)) == partitions
                    and all(member.journal.owned for member in everyone))

        self.wait_for(shared, bound, f"{partitions} partitions shared by {len(everyone)} members")

    def wait_caught_up(self, partitions: int, bound: float) -> None:
        """Until Kafka says that all is committed up to the logs' ends, and that every partition has an owner."""
        deadline = time.monotonic() + bound
        while True:
            rows = [row for row in self.brokers.describe_group(self.name) if row.topic in self.topics]
            unread = {place for place, (first, end) in self.log_ends().items() if end > first}
            finished = {(row.topic, row.partition) for row in rows if row.lag == 0}
            if unread <= finished and sum(row.member_id is not None for row in rows) == partitions:
                return
            if time.monotonic() > deadline:
                raise MemberFailed(f"not caught up within {bound} s ({self.summary()}):\n" + "\n".join(map(str, rows)))
            with self.changed:
                self.changed.wait(0.1)

    def log_ends(self) -> dict[Place, tuple[int, int]]:
        """Partition -> (first offset, next offset)."""
        return {(topic, partition): ends for topic in self.topics
                for partition, ends in self.brokers.log_ends(topic).items()}

    def violations(self) -> list[str]:
        return [f"{member.name}: {violation}" for member in self.members for violation in member.journal.violations]

    def lost(self, produced: Iterable[int | str]) -> list[str]:
        """What was produced and never handled."""
        return [str(number) for number in produced if str(number) not in self.times_handled]

    def handled_again(self) -> int:
        """How many times a record was handled that had been handled before."""
        return self.times_handled.total() - len(self.times_handled)

    def ahead(self) -> list[str]:
        """Where Kafka holds a committed offset above a record that no member has handled."""
        found = []
        ends = self.log_ends()
        for place, committed in self.brokers.committed(self.name).items():
            if place in ends:
                holes = self.handled_offsets[place].holes(ends[place][0], committed)
                if holes:
                    found.append(f"{_show(place)}: committed {committed}, not handled {holes[:5]}")
        return found

    def owned_twice(self) -> list[str]:
        """Where a member owned a partition before another had given it back, by what the two say of when."""
        found = []
        tenures = self._tenures()
        for (before, one), (after, other) in zip(tenures, tenures[1:]):
            if before.place == after.place and after.since < before.until:
                found.append(f"{_show(after.place)}: {other.name} owned it from {after.since:.3f}, "
                             f"{one.name} until {before.until:.3f}")
        return found

    def left_uncommitted(self, client: str) -> list[str]:
        """Where a partition that a member of this client gave back was taken up below what that member had handled."""
        found = []
        given_back: dict[Place, tuple[int, str]] = {}
        for tenure, member in self._tenures():
            if not tenure.handled:
                continue
            end, name = given_back.get(tenure.place, (0, ""))
            if tenure.handled.lowest < end:
                found.append(f"{_show(tenure.place)}: {name} handled all below {end}, "
                             f"{member.name} began at {tenure.handled.lowest}")
            if member.settings.client == client:
                given_back[tenure.place] = max(end, tenure.handled.end), member.name
        return found

    def _tenures(self) -> list[tuple[Tenure, Member]]:
        """By partition, and for each in the order in which it was owned."""
        return sorted(((tenure, member) for member in self.members for tenure in member.tenures),
                      key=lambda pair: (pair[0].place, pair[0].since, pair[0].until))

    def stop(self, bound: float = 30) -> None:
        """Ends every running member in order."""
        for member in self.members:
            if member.running:
                member.stop(bound)

    def summary(self) -> str:
        return (f"{len(self.times_handled)} records handled, {self.handled_again()} again, "
                f"{sum(len(member.journal.assignments) for member in self.members)} assignments, "
                f"{sum(commit.success for member in self.members for commit in member.journal.commits)} commits, "
                f"{sum(not commit.success for member in self.members for commit in member.journal.commits)} failed")
