# SPDX-License-Identifier: MIT
"""Arithmetic on results: percentiles, medians, and ratios inside a round. No I/O."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterable, Sequence

Row = dict  # one JSON line
Key = tuple[str, str, str]  # arm, allocator, librdkafka

OWN = "own"  # the allocator of an arm that brings its own
NONE = "none"  # the librdkafka of an arm that has none
BUNDLED = "bundled"  # ... or its own copy


@dataclasses.dataclass(frozen=True)
class Spread:
    """The median of some figures, and the least and the greatest."""

    median: float
    least: float
    greatest: float

    @staticmethod
    def of(values: Iterable[float]) -> Spread | None:
        present = [value for value in values if value is not None]
        return Spread(statistics.median(present), min(present), max(present)) if present else None


def percentile(ordered: Sequence[float], fraction: float) -> float:
    """The smallest value that at least `fraction` of the (ascending, not empty) values do not exceed."""
    return ordered[max(0, math.ceil(fraction * len(ordered)) - 1)]


def key_of(row: Row) -> Key:
    return row["arm"], row["allocator"], row["librdkafka"]


def matching(baseline: str, key: Key, keys: Iterable[Key]) -> list[Key]:
    """The variants of the baseline arm that `key` may be compared with.

    With the same allocator and the same librdkafka where the arm has a choice of them; with every one where it has none.
    """
    _, allocator, library = key
    return sorted(other for other in keys if other[0] == baseline
                  and (other[1] == allocator or allocator == OWN)
                  and (other[2] == library or library in (NONE, BUNDLED)))


def ratios(rows: Iterable[Row], over: Key, under: Key, figure: Callable[[Row], float | None]) -> list[float]:
    """figure(over) / figure(under) in each round in which both have it."""
    rounds: dict[int, dict[Key, float]] = {}
    for row in rows:
        value = figure(row)
        if value is not None and "error" not in row:
            rounds.setdefault(row["round"], {})[key_of(row)] = value
    return [values[over] / values[under] for _, values in sorted(rounds.items())
            if over in values and values.get(under)]


def ideal_rate(key_counts: Sequence[int], wait: float, in_flight: int, window: float, ordered: bool) -> float:
    """Records a second of who looks ahead without a bound and needs no time of his own, over a window that begins with the first.

    `wait` seconds are spent on each record, by `in_flight` at the same time; ordered, by one for each key. All that can be done in the
    window can be done so (McNaughton's rule); when there is time for everything, it is done as soon as can be.
    """
    records = sum(key_counts)
    longest = wait * max(records / in_flight, max(key_counts) if ordered else 1)
    if longest <= window:
        return records / longest
    turns = window / wait
    done = sum(min(count, turns) for count in key_counts) if ordered else records
    return min(done, in_flight * turns) / window


def largest_gaps(receipts: dict[int, list[int]], begin: int, end: int) -> dict[int, int]:
    """Partition -> the longest time between two receipts that overlaps [begin, end]; times in ns, in any order."""
    gaps = {}
    for partition, times in receipts.items():
        ordered = sorted(times)
        gaps[partition] = max((after - before for before, after in zip(ordered, ordered[1:])
                               if after >= begin and before <= end), default=0)
    return gaps


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The slope of the least-squares line through the points (at least two with different abscissas)."""
    return statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope
