# SPDX-License-Identifier: MIT
"""What is measured: each workload runs one variant once and returns the figures of one JSON line."""

from __future__ import annotations

import array
import contextlib
import dataclasses
import json
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from .arms import CONSUME, PROCESS, PRODUCE, Arm, Programs, Variant
from .figures import Spread, ideal_rate, largest_gaps, percentile, slope
from .kafka import Kafka, Topic, TopicKind
from .processes import ArmFailed, Member, Used

NS = 1e9
WARM_UP_SECONDS = 3
JOIN_BOUND = 60.0
SAMPLE_BYTES = 24


@dataclasses.dataclass(frozen=True)
class Sample:
    received_ns: int
    intended_ns: int
    partition: int
    offset: int


class Bench:
    """One variant against one Kafka: starts members of it, checks that they did the work."""

    def __init__(self, programs: Programs, kafka: Kafka, variant: Variant, rounds_per_us: float, folder: Path,
                 properties: tuple[str, ...] = ()) -> None:
        self.kafka = kafka
        self.variant = variant
        self._programs = programs
        self._rounds_per_us = rounds_per_us
        self._folder = folder
        self._properties = properties
        self._members: list[Member] = []
        self._samples: dict[Member, Path] = {}

    def close(self) -> None:
        for member in self._members:
            member.kill()

    def start(self, topic: Topic, group: str, *, messages: int = 0, samples: int = 0, spin_us: float = 0) -> Member:
        """A member of the group; `messages` 0 reads until it is terminated; a sample each `samples` records, 0: none."""
        command = [*self._command(CONSUME, topic, messages), "--group", group]
        path = self._folder / f"samples-{len(self._members)}"
        if samples:
            path.unlink(missing_ok=True)
            command += ["--samples", str(path), "--sample-interval", str(samples)]
        if spin_us:
            command += ["--spin", str(int(spin_us * self._rounds_per_us))]
        member = self._start(command)
        self._samples[member] = path
        return member

    def produce(self, topic: Topic, *, messages: int, size: int) -> Member:
        """A producer of so many records, the same number in each partition."""
        return self._start([*self._command(PRODUCE, topic, messages), "--size", str(size)])

    def process(self, topic: Topic, group: str, *, ordered: bool, wait_us: int, suspends: int, in_flight: int, window_ms: int) -> Member:
        """A member that waits on each record, many at a time; it ends with the topic or with the window."""
        command = [*self._command(PROCESS, topic, topic.records), "--group", group, "--order", "key" if ordered else "unordered",
                   "--wait-us", str(wait_us), "--in-flight", str(in_flight), "--window-ms", str(window_ms)]
        if suspends:
            command += ["--suspends", str(suspends)]
        return self._start(command)

    def _command(self, kind: str, topic: Topic, messages: int) -> list[str]:
        return [*self._programs.command(self.variant.arm, kind), "--brokers", self.kafka.brokers, "--topic", topic.name,
                "--partitions", str(topic.partitions), "--messages", str(messages)]

    def _start(self, command: list[str]) -> Member:
        for setting in self._properties:
            command += ["--property", setting]
        member = Member(self._programs.launcher, command, self._programs.environment(self.variant))
        self._members.append(member)
        return member

    def pace(self, topic: Topic, rate: int, records: int) -> subprocess.Popen:
        return subprocess.Popen(
            [self._programs.tool("pace_records"), "--brokers", self.kafka.brokers, "--topic", topic.name,
             "--partitions", str(topic.partitions), "--rate", str(rate), "--records", str(records)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def samples(self, member: Member) -> list[Sample]:
        numbers = array.array("q")
        with open(self._samples[member], "rb") as file:
            numbers.frombytes(file.read())
        return [Sample(received, intended, place >> 40, place & (1 << 40) - 1)
                for received, intended, place in zip(numbers[0::3], numbers[1::3], numbers[2::3])]

    def check_allocator(self, member: Member) -> None:
        """An arm that quietly ran with the other allocator would be the worst kind of wrong figure."""
        if self.variant.allocator in ("glibc", "mimalloc"):
            loaded = member.maps("libmimalloc")
            if loaded != (self.variant.allocator == "mimalloc"):
                raise ArmFailed(f"mimalloc is {'' if loaded else 'not '}loaded")

    def wait_committed(self, topic: Topic, group: str, bound: float) -> None:
        """Until the group has committed all that the log holds."""
        deadline = time.monotonic() + bound
        while True:
            try:
                return self.kafka.check_committed(topic, group)
            except ArmFailed:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.5)


def evenly(records: float, partitions: int) -> int:
    """About so many records, the same number in each partition: an arm with a handler a claim knows its end by that."""
    return max(1, round(records / partitions)) * partitions


def check_read(result: dict, records: int, size: int, checksum: str) -> None:
    """Every record once and unharmed."""
    if result["msgs"] != records:
        raise ArmFailed(f"read {result['msgs']} records of {records}")
    if result["bytes"] != size or result["checksum"] != checksum:
        raise ArmFailed(f"read {result['bytes']} bytes with sum {result['checksum']}, not {size} with {checksum}")


def check_complete(samples: Iterable[Sample], partitions: int) -> int:
    """Nothing skipped: in each partition the offsets from 0 to the last one read are all there. Returns the number read twice."""
    read: list[dict[int, int]] = [{} for _ in range(partitions)]
    for sample in samples:
        read[sample.partition][sample.offset] = read[sample.partition].get(sample.offset, 0) + 1
    for partition, offsets in enumerate(read):
        if offsets and len(offsets) != max(offsets) + 1:
            raise ArmFailed(f"partition {partition}: {max(offsets) + 1 - len(offsets)} records skipped")
    return sum(times - 1 for offsets in read for times in offsets.values())


def drained(result: dict, used: Used, started_unix_ns: int) -> dict:
    seconds = (result["last_unix_ns"] - result["first_unix_ns"]) / NS
    messages = result["msgs"]
    return {
        "version": result["client"], "msgs": messages, "seconds": round(seconds, 6),
        "msgs_per_s": round(messages / seconds) if seconds > 0 else None,
        "cpu_ns_per_msg": round(used.cpu_seconds * NS / messages, 1),
        "peak_rss_mib": round(used.peak_rss_kib / 1024, 1),
        "start_ms": round((result["first_unix_ns"] - started_unix_ns) / 1e6, 1),
    }


def drain(bench: Bench, kind: TopicKind, spin_us: float = 0) -> dict:
    """One member empties a topic that was filled before."""
    topic, group = bench.kafka.filled(kind), bench.kafka.group()
    member = bench.start(topic, group, messages=topic.records, spin_us=spin_us)
    member.wait_for_event("assigned", JOIN_BOUND)
    with contextlib.suppress(OSError, ArmFailed):  # a short drain may be over by now
        bench.check_allocator(member)
    result, used = member.wait(60 + topic.records * (20e-6 + spin_us * 2e-6))
    check_read(result, topic.records, topic.bytes, topic.checksum)
    bench.kafka.check_committed(topic, group)
    return drained(result, used, member.started_unix_ns)


def produced(bench: Bench, partitions: int, size: int, records: int) -> dict:
    """One producer writes to a new topic, from its first record to the acknowledgement of the last."""
    kept = "retention.bytes=50000000,segment.bytes=50000000"  # the disk need not hold all runs
    topic = bench.kafka.fresh(TopicKind(partitions, size, 0, config=kept))
    producer = bench.produce(topic, messages=records, size=size)
    producer.wait_for_event("assigned", JOIN_BOUND)
    bench.check_allocator(producer)
    result, used = producer.wait(60 + records / 10_000)
    ends = bench.kafka.offsets(topic, bench.kafka.group())[1]
    if result["msgs"] != records or ends != [records // partitions] * partitions:
        raise ArmFailed(f"{result['msgs']} records of {records} acknowledged, the logs end at {ends}")
    figures = drained(result, used, producer.started_unix_ns)
    del figures["start_ms"]
    return figures


def processed(bench: Bench, kind: TopicKind, ordered: bool, wait_ms: int, in_flight: int, suspends: int) -> dict:
    """One member works on a backlog, at most for the window; where `f` waits, its rate beside the ideal one."""
    topic, group = bench.kafka.filled(kind), bench.kafka.group()
    member = bench.process(topic, group, ordered=ordered, wait_us=wait_ms * 1000, suspends=suspends, in_flight=in_flight,
                           window_ms=PROCESSING_SECONDS * 1000)
    member.wait_for_event("assigned", JOIN_BOUND)
    bench.check_allocator(member)
    result, used = member.wait(60 + PROCESSING_SECONDS)  # it says itself when a key's order is broken
    if not 0 < result["msgs"] <= topic.records:
        raise ArmFailed(f"{result['msgs']} records of {topic.records} handled")
    figures = drained(result, used, member.started_unix_ns)
    figures["handled_per_s"] = figures.pop("msgs_per_s")
    if wait_ms:
        ideal = ideal_rate(topic.key_counts, wait_ms / 1000, in_flight, PROCESSING_SECONDS, ordered)
        figures["of_ideal"] = round(figures["handled_per_s"] / ideal, 3)
    return figures


def paced(bench: Bench, rate: int, seconds: float, partitions: int) -> dict:
    """Records at a constant rate; delay from the time each was meant to be sent to the handler, after a warm-up."""
    topic, group = bench.kafka.fresh(TopicKind(partitions, 100, 0)), bench.kafka.group()
    records = evenly(rate * (seconds + WARM_UP_SECONDS), partitions)
    member = bench.start(topic, group, messages=records, samples=1)
    member.wait_for_event("assigned", JOIN_BOUND)
    bench.check_allocator(member)
    sent = _finish(bench.pace(topic, rate, records))
    result, used = member.wait(60)
    check_read(result, sent["records"], sent["bytes"], sent["checksum"])
    bench.kafka.check_committed(topic, group)
    begin = sent["first_unix_ns"] + WARM_UP_SECONDS * NS
    delays = sorted((sample.received_ns - sample.intended_ns) / 1e3 for sample in bench.samples(member)
                    if sample.intended_ns >= begin)
    return {**drained(result, used, member.started_unix_ns), "late_us": sent["late_us"],
            **{name: round(percentile(delays, fraction), 1)
               for name, fraction in (("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999))}}


def start(bench: Bench) -> dict:
    """From starting the program to its first record, and the CPU that starting, joining and leaving cost."""
    row = drain(bench, TopicKind(6, 100, 60))
    row["cpu_ms"] = round(row.pop("cpu_ns_per_msg") * row["msgs"] / 1e6, 1)
    del row["seconds"], row["msgs_per_s"]
    return row


def revoke(bench: Bench, idle: bool) -> dict:
    """A second member joins; how long are records not flowing?

    Idle: 1,000 records/s, handled at once. Busy: a backlog, 50 µs of CPU a record, so that handlers and buffers are full.
    """
    group = bench.kafka.group()
    spin_us = 0 if idle else 50
    topic = bench.kafka.fresh(TopicKind(6, 100, 0)) if idle else bench.kafka.filled(TopicKind(6, 100, 1_200_000))
    first = bench.start(topic, group, samples=1, spin_us=spin_us)
    first.wait_for_event("assigned", JOIN_BOUND)
    pacer = bench.pace(topic, 1000, 16_000) if idle else None
    time.sleep(4)
    joined_ns = time.time_ns()
    second = bench.start(topic, group, samples=1, spin_us=spin_us)
    second.wait_for_event("assigned", JOIN_BOUND)
    if pacer is not None:
        _finish(pacer)
        bench.wait_committed(topic, group, 20)
        ended_ns = time.time_ns() - int(1e9)
    else:
        time.sleep(4)
        ended_ns = time.time_ns() - int(1e9)
    for member in (first, second):
        member.terminate()
    results = [member.wait(60) for member in (first, second)]
    samples = [sample for member in (first, second) for sample in bench.samples(member)]
    duplicates = check_complete(samples, topic.partitions)

    by_partition: dict[int, list[int]] = {partition: [] for partition in range(topic.partitions)}
    for sample in samples:
        by_partition[sample.partition].append(sample.received_ns)
    if idle:
        gaps = Spread.of(gap / 1e6 for gap in largest_gaps(by_partition, joined_ns, ended_ns).values())
        figures = {"pause_ms": round(gaps.greatest, 1), "pause_median_ms": round(gaps.median, 1)}
    else:
        # A busy member serves its partitions in turn, each with pauses of its own: only the flow as a whole tells.
        silence = largest_gaps({0: [sample.received_ns for sample in samples]}, joined_ns, ended_ns)[0]
        figures = {"pause_ms": round(silence / 1e6, 1)}
    return {"version": results[0][0]["client"], "msgs": len(samples), "duplicates": duplicates, **figures,
            "peak_rss_mib": round(max(used.peak_rss_kib for _, used in results) / 1024, 1)}


def two_members(bench: Bench, kind: TopicKind) -> dict:
    """One member, then two of one group, on a backlog with 3 µs of CPU a record: how much faster are two?

    Both rates are of one run: records/s of the first before the second is started, and of both while both read.
    """
    interval, spin_us = 256, 3.0
    topic, group = bench.kafka.filled(kind), bench.kafka.group()
    members = [bench.start(topic, group, samples=interval, spin_us=spin_us)]
    members[0].wait_for_event("assigned", JOIN_BOUND)
    time.sleep(2)  # the first one's time alone
    second_started_ns = time.time_ns()
    members.append(bench.start(topic, group, samples=interval, spin_us=spin_us))
    members[1].wait_for_event("assigned", JOIN_BOUND)
    bench.wait_committed(topic, group, 60 + topic.records / 20_000)
    for member in members:
        member.terminate()
    results = [member.wait(60) for member in members]
    read = sum(result["msgs"] for result, _ in results)
    if read < topic.records:
        raise ArmFailed(f"read {read} records of {topic.records}")
    first, second = (sorted(sample.received_ns for sample in bench.samples(member)) for member in members)
    if not second:
        raise ArmFailed("the backlog was gone before the second member had its share")
    alone = sum(1 for received in first if received <= second_started_ns) * interval
    alone_seconds = (second_started_ns - first[0]) / NS
    begin, end = second[0], min(first[-1], second[-1])
    both = sum(1 for times in (first, second) for received in times if begin < received <= end) * interval
    if end - begin < 0.2 * NS:
        raise ArmFailed("both members read side by side for less than 0.2 s: too short to tell")
    together = both * NS / (end - begin)
    cpu = sum(used.cpu_seconds for _, used in results)
    return {"version": results[0][0]["client"], "msgs": read, "duplicates": read - topic.records,
            "seconds": round((end - begin) / NS, 6), "msgs_per_s": round(together),
            "scaling": round(together * alone_seconds / alone, 3), "cpu_ns_per_msg": round(cpu * NS / read, 1),
            "peak_rss_mib": round(max(used.peak_rss_kib for _, used in results) / 1024, 1)}


def at_rest(bench: Bench, settle_seconds: float = 10) -> dict:
    """Resident memory of a member with 1 and with 1,000 empty partitions, and so the cost of a claim."""
    resident = {}
    version = ""
    for partitions in (1, 1000):
        topic = bench.kafka.filled(TopicKind(partitions, 100, 0))
        member = bench.start(topic, bench.kafka.group())
        member.wait_for_event("assigned", JOIN_BOUND)
        time.sleep(settle_seconds)  # the time at rest is what is measured
        resident[partitions] = member.status_kib("VmRSS")
        member.terminate()
        result, _ = member.wait(60)
        version = result["client"]
    return {"version": version, "msgs": 0, "rss_1_mib": round(resident[1] / 1024, 1),
            "rss_1000_mib": round(resident[1000] / 1024, 1), "kib_per_claim": round((resident[1000] - resident[1]) / 999, 2)}


def soak(bench: Bench, rate: int, seconds: float) -> dict:
    """A constant rate with 10 µs of CPU a record, half the time of a core at 50,000/s: does resident memory stay where it was?"""
    kind = TopicKind(6, 100, 0, config="retention.bytes=50000000,segment.bytes=20000000")
    topic, group = bench.kafka.fresh(kind), bench.kafka.group()
    member = bench.start(topic, group, spin_us=10)
    member.wait_for_event("assigned", JOIN_BOUND)
    bench.check_allocator(member)
    pacer = bench.pace(topic, rate, int(rate * seconds))
    began = time.monotonic()
    points = []
    while pacer.poll() is None:
        time.sleep(1)
        points.append((time.monotonic() - began, member.status_kib("VmRSS") / 1024))
    sent = _finish(pacer)
    bench.wait_committed(topic, group, 60)
    member.terminate()
    result, used = member.wait(60)
    check_read(result, sent["records"], sent["bytes"], sent["checksum"])
    settled = [point for point in points if point[0] >= seconds / 10]
    return {**drained(result, used, member.started_unix_ns), "rss_mib_by_second": [round(rss, 1) for _, rss in points],
            "rss_mib_per_hour": round(slope(settled) * 3600, 2), "late_us": sent["late_us"]}


def _finish(pacer: subprocess.Popen) -> dict:
    output, _ = pacer.communicate()
    if pacer.returncode != 0:
        raise ArmFailed("pace_records failed")
    return json.loads(output)


@dataclasses.dataclass(frozen=True)
class Workload:
    """`run` is given a scale for numbers of records. `figures`: what its table shows. `only` and `without`: arms, none: all."""

    name: str
    about: str
    run: Callable[[Bench, float], dict]
    figures: tuple[str, ...]
    quick: bool = False
    brokers: int = 1
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    most_rounds: int | None = None
    kind: str = CONSUME

    def takes(self, arm: Arm) -> bool:
        return arm.name not in self.without and (not self.only or arm.name in self.only) and self.kind in arm.commands


THROUGHPUT = ("msgs_per_s", "cpu_ns_per_msg", "peak_rss_mib")
DELAY = ("p50_us", "p99_us", "p999_us", "cpu_ns_per_msg", "peak_rss_mib")
PYTHON = ("confluent-python",)
PACED_SECONDS = 10
PROCESSING_SECONDS = 20


def _draining(partitions: int, size: int, records: int, compression: str = "none", spin_us: float = 0):
    return lambda bench, scale: drain(bench, TopicKind(partitions, size, evenly(records * scale, partitions), compression), spin_us)


def _draining_one_of(partitions: int, size: int, records: int):
    # A multiple of what the arms count in: none of their claims has the share that it expects.
    return lambda bench, scale: drain(bench, TopicKind(partitions, size, evenly(records * scale, 1536), filled=1))


def _producing(partitions: int, size: int, records: int):
    return lambda bench, scale: produced(bench, partitions, size, evenly(records * scale, partitions))


def _paced(rate: int, partitions: int):
    return lambda bench, _: paced(bench, rate, PACED_SECONDS, partitions)


def _processing(order: str, wait_ms: int, in_flight: int, suspends: int = 0) -> Workload:
    kind = TopicKind(8, 100, 400_000, keys=10_000)
    name = "suspend" if suspends else f"{wait_ms}ms"
    work = f"an f that waits {wait_ms} ms" if wait_ms else "an f that suspends once" if suspends else "an f that does nothing"
    return Workload(
        f"{order}-{name}-{in_flight}",
        f"400,000 records of 100 B, 10,000 keys by Zipf's law, 8 partitions, {'by key' if order == 'key' else order}, "
        f"{in_flight:,} in flight, {work}: {PROCESSING_SECONDS} s at most",
        lambda bench, scale: processed(bench, dataclasses.replace(kind, records=round(kind.records * scale)), order == "key", wait_ms, in_flight,
                                       suspends),
        ("handled_per_s", *(("of_ideal",) if wait_ms else ()), "cpu_ns_per_msg", "peak_rss_mib"), kind=PROCESS,
        only=("kgroup", "lane-map") if suspends else ())


WORKLOADS = [
    Workload("100B", "3 M records of 100 B, 6 partitions, drained from a full backlog",
             _draining(6, 100, 3_000_000), THROUGHPUT, quick=True),
    Workload("1KiB", "1 M records of 1 KiB, 6 partitions, drained from a full backlog",
             _draining(6, 1024, 1_000_000), THROUGHPUT, quick=True),
    Workload("lz4-100B", "3 M records of 100 B in lz4 batches, 6 partitions, drained from a full backlog",
             _draining(6, 100, 3_000_000, "lz4"), THROUGHPUT, quick=True),
    Workload("zstd-100B", "3 M records of 100 B in zstd batches, 6 partitions, drained from a full backlog",
             _draining(6, 100, 3_000_000, "zstd"), THROUGHPUT),
    Workload("100B-1of6", "1.5 M records of 100 B, all in one of 6 partitions, drained", _draining_one_of(6, 100, 1_536_000), THROUGHPUT),
    Workload("1KiB-1of6", "400,000 records of 1 KiB, all in one of 6 partitions, drained", _draining_one_of(6, 1024, 400_000), THROUGHPUT),
    Workload("latency-1k", "1,000 records/s over 6 partitions: delay from the intended time of sending to the handler",
             _paced(1_000, 6), DELAY),
    Workload("latency-50k", "50,000 records/s over 6 partitions: delay from the intended time of sending to the handler",
             _paced(50_000, 6), DELAY),
    Workload("start", "from starting the program to its first record, and the CPU of starting, joining and leaving",
             lambda bench, _: start(bench), ("start_ms", "cpu_ms", "peak_rss_mib")),
    Workload("revoke-idle", "a second member joins, handlers idle at 1,000 records/s: longest pause of a partition",
             lambda bench, _: revoke(bench, idle=True), ("pause_ms", "pause_median_ms", "duplicates"), without=PYTHON),
    Workload("revoke-busy", "a second member joins amid a backlog, 50 µs of CPU a record: longest time without any record",
             lambda bench, _: revoke(bench, idle=False), ("pause_ms", "duplicates"), without=PYTHON),
    Workload("100B-1p", "3 M records of 100 B, 1 partition, drained", _draining(1, 100, 3_000_000), THROUGHPUT),
    Workload("100B-100p", "3 M records of 100 B, 100 partitions, drained", _draining(100, 100, 3_000_000), THROUGHPUT),
    Workload("100B-1000p", "3 M records of 100 B, 1,000 partitions, drained", _draining(1000, 100, 3_000_000), THROUGHPUT),
    Workload("steady-1p", "1,000 records/s over 1 partition", _paced(1_000, 1), DELAY),
    Workload("steady-100p", "1,000 records/s over 100 partitions", _paced(1_000, 100), DELAY),
    Workload("steady-1000p", "1,000 records/s over 1,000 partitions", _paced(1_000, 1000), DELAY),
    Workload("two-members", "one member, then two processes of the group, 3 µs of CPU a record: rate of both, and both ÷ one",
             lambda bench, scale: two_members(bench, TopicKind(6, 100, evenly(6_000_000 * scale, 6))),
             ("msgs_per_s", "scaling", "cpu_ns_per_msg", "duplicates"), without=PYTHON),
    Workload("three-brokers", "3 M records of 100 B, 6 partitions over three brokers, drained",
             _draining(6, 100, 3_000_000), THROUGHPUT, brokers=3),
    Workload("cpu-20us", "300,000 records of 100 B, 6 partitions, 20 µs of CPU in the handler",
             _draining(6, 100, 300_000, spin_us=20), THROUGHPUT, without=PYTHON),
    Workload("produce-100B", "3 M records of 100 B to 6 partitions, from the first to the acknowledgement of the last",
             _producing(6, 100, 3_000_000), THROUGHPUT, kind=PRODUCE),
    Workload("produce-1KiB", "1 M records of 1 KiB to 6 partitions, from the first to the acknowledgement of the last",
             _producing(6, 1024, 1_000_000), THROUGHPUT, kind=PRODUCE),
    Workload("rest", "resident memory of a member at rest with 1 and with 1,000 empty partitions",
             lambda bench, _: at_rest(bench), ("rss_1_mib", "rss_1000_mib", "kib_per_claim"), most_rounds=2),
    Workload("soak", "10 minutes at 50,000 records/s with 10 µs of CPU a record: resident memory from second to second",
             lambda bench, scale: soak(bench, 50_000, 600 * scale), ("rss_mib_per_hour", "cpu_ns_per_msg", "peak_rss_mib"),
             only=("kgroup", "kgroup-batch"), most_rounds=1),
    *(_processing(order, wait_ms, in_flight) for order in ("key", "unordered") for wait_ms in (0, 1, 10, 100) for in_flight in (100, 1000)),
    *(_processing(order, 0, in_flight, suspends=1) for order in ("key", "unordered") for in_flight in (100, 1000)),
]
