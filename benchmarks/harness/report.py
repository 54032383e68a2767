# SPDX-License-Identifier: MIT
"""Tables of medians with spread, and of ratios inside a round, as Markdown."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .arms import NEWEST
from .figures import OWN, Key, Row, Spread, key_of, matching, ratios
from .workloads import WORKLOADS, Workload


@dataclasses.dataclass(frozen=True)
class Figure:
    title: str
    scale: float = 1.0
    digits: int = 0
    ratio: bool = True

    def text(self, spread: Spread | None) -> str:
        if spread is None:
            return "–"
        median, least, greatest = (f"{value * self.scale:,.{self.digits}f}"
                                   for value in (spread.median, spread.least, spread.greatest))
        return median if least == greatest else f"{median} ({least}–{greatest})"


FIGURES = {
    "msgs_per_s": Figure("M records/s", 1e-6, 2),
    "cpu_ns_per_msg": Figure("CPU ns/record"),
    "peak_rss_mib": Figure("peak RSS MiB", ratio=False),
    "p50_us": Figure("p50 µs"),
    "p99_us": Figure("p99 µs"),
    "p999_us": Figure("p99.9 µs", ratio=False),
    "start_ms": Figure("first record after ms"),
    "cpu_ms": Figure("CPU ms"),
    "pause_ms": Figure("longest pause ms", digits=1),
    "pause_median_ms": Figure("a partition's median ms", digits=1, ratio=False),
    "duplicates": Figure("read twice", ratio=False),
    "handled_per_s": Figure("k records/s", 1e-3, 1),
    "of_ideal": Figure("of the ideal", digits=2, ratio=False),
    "scaling": Figure("two ÷ one", digits=2, ratio=False),
    "rss_1_mib": Figure("RSS MiB, 1 partition", digits=1, ratio=False),
    "rss_1000_mib": Figure("RSS MiB, 1,000 partitions", digits=1, ratio=False),
    "kib_per_claim": Figure("KiB a claim", digits=2),
    "rss_mib_per_hour": Figure("RSS growth MiB/h", digits=2, ratio=False),
}
DISTURBED_CORES = 0.15


def good(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if "error" not in row]


def label(key: Key) -> str:
    arm, allocator, library = key
    details = [word for word, shown in ((allocator, allocator != OWN), ("newest librdkafka", library == NEWEST)) if shown]
    return f"{arm} ({', '.join(details)})" if details else arm


def _ratio_text(rows: list[Row], baseline: str, key: Key, figure: str) -> str:
    """One ratio, or one for each variant of the baseline that the arm may be compared with."""
    found = [(other, Spread.of(ratios(rows, other, key, lambda row: row.get(figure))))
             for other in matching(baseline, key, {key_of(row) for row in rows})]
    found = [(other, spread) for other, spread in found if spread is not None]
    if len(found) == 1:
        return f"{found[0][1].median:.2f}"
    return "; ".join(f"{spread.median:.2f} {label(other).partition('(')[2].rstrip(')')}" for other, spread in found) or "–"


def table(workload: Workload, all_rows: Iterable[Row], baseline: str) -> str:
    rows = good(row for row in all_rows if row["workload"] == workload.name)
    compared = [name for name in workload.figures if FIGURES[name].ratio]
    header = ["arm", *(FIGURES[name].title for name in workload.figures),
              *(f"{baseline} ÷ it: {FIGURES[name].title}" for name in compared), "rounds"]
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    for key in dict.fromkeys(map(key_of, rows)):
        mine = [row for row in rows if key_of(row) == key]
        cells = [label(key), *(FIGURES[name].text(Spread.of(row.get(name) for row in mine)) for name in workload.figures)]
        cells += ["" if key[0] == baseline else _ratio_text(rows, baseline, key, name) for name in compared]
        lines.append(f"| {' | '.join([*cells, str(len(mine))])} |")
    return "\n".join(lines)


def merged(files: list[Path]) -> tuple[list[Row], dict]:
    """The rows of several runs, and the machine of the first; the same round of two runs is not the same round."""
    rows = [{**row, "round": row["round"] + 1000 * run} for run, file in enumerate(files)
            for row in map(json.loads, file.read_text().splitlines())]
    described = json.loads((files[0].parent / "machine.json").read_text())
    rounds = Counter((row["workload"], row["arm"], row["allocator"], row["librdkafka"]) for row in rows).values()
    described["rounds"] = " to ".join(map(str, sorted({min(rounds), max(rounds)})))
    return rows, described


def summary(rows: list[Row], machine: dict, baseline: str) -> str:
    """The whole report of one run."""
    lines = ["# Benchmark results", "",
             f"{machine['date']}, commit {machine['commit'] or 'unknown'}. {machine['cpu']}, {machine['cores']} cores"
             f"{' (virtual machine)' if machine['hypervisor'] else ''}, {machine['memory_gib']} GiB, {machine['system']}, "
             f"Linux {machine['kernel']}, {machine['c++']}; Apache Kafka {machine['kafka']} on the same machine. "
             f"{machine['rounds']} rounds"
             f"{'' if machine['scale'] == 1 else ', numbers of records scaled by ' + format(machine['scale'], '.2f')}.", "",
             "Medians over the rounds (least–greatest). Ratios are medians of the ratios within each round; in records/s more than 1 "
             f"says that {baseline} is faster, in all other figures less than 1 says that it needs less. An arm that chooses its "
             f"allocator is compared with the {baseline} that has the same one; one that brings its own, with each.", ""]
    versions = sorted({row["version"] for row in good(rows) if row.get("version")})
    lines += ["Versions: " + "; ".join(versions) + ".", ""]
    for workload in WORKLOADS:
        if any(row["workload"] == workload.name for row in good(rows)):
            lines += [f"## {workload.name}", "", workload.about[0].upper() + workload.about[1:] + ".", "",
                      table(workload, rows, baseline), ""]
    disturbed = [row for row in good(rows) if (row.get("foreign_cores") or 0) > DISTURBED_CORES]
    if disturbed:
        lines += [f"{len(disturbed)} of {len(good(rows))} runs shared the machine with other work "
                  f"(more than {DISTURBED_CORES} of a core).", ""]
    failed = [row for row in rows if "error" in row]
    if failed:
        lines += ["## Failed runs", ""]
        lines += [f"- {row['workload']}, {label(key_of(row))}, round {row['round']}: {row['error']}" for row in failed]
        lines.append("")
    return "\n".join(lines)
