# SPDX-License-Identifier: MIT
"""Draws the results of a run as SVG: plots.py FOLDER [--environment FOLDER].

Runs by itself, because Matplotlib need not be where benchmarks/run runs: without it here it goes on in a virtual environment of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from harness.figures import OWN, Row, Spread  # noqa: E402

COLORS = {"glibc": "#8da0cb", "mimalloc": "#1f4e9c", OWN: "#b0b0b0"}
LEGEND = {"glibc": "glibc's allocator", "mimalloc": "mimalloc", OWN: "its own allocator"}
OURS = "kgroup"


def in_environment(folder: Path) -> None:
    """Does not return: goes on with an interpreter that has Matplotlib."""
    interpreter = folder / "bin" / "python"
    if Path(sys.executable) == interpreter:
        raise SystemExit("plots.py: Matplotlib is not to be had")
    if not interpreter.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                    "-r", str(HERE.parent / "requirements.txt")], check=True)
    os.execv(str(interpreter), [str(interpreter), *sys.argv])


def grouped(rows: list[Row], workload: str) -> dict[str, dict[str, list[Row]]]:
    """arm -> allocator -> rows, of the librdkafka that is installed."""
    found: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        if row["workload"] == workload and row["librdkafka"] != "newest" and "error" not in row:
            found.setdefault(row["arm"], {}).setdefault(row["allocator"], []).append(row)
    return found


def finish(pyplot, figure, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
    pyplot.close(figure)
    print(f"plot: {path}")


def legend(axes, patches, allocators) -> None:
    axes.legend(handles=[patches.Patch(color=COLORS[name], label=LEGEND[name]) for name in COLORS if name in allocators],
                frameon=False, loc="lower right", fontsize=8)


def bars(pyplot, patches, rows: list[Row], workloads: list[str], figure_name: str, scale: float, title: str, path: Path) -> None:
    """Horizontal bars of medians, a panel a workload, an arm's allocators side by side; whiskers from least to greatest."""
    panels = [(name, grouped(rows, name)) for name in workloads]
    panels = [(name, arms) for name, arms in panels if arms]
    if not panels:
        return
    tallest = max(len(arms) for _, arms in panels)
    figure, all_axes = pyplot.subplots(1, len(panels), figsize=(4.2 * len(panels) + 1, 0.42 * tallest + 1.2), squeeze=False)
    for axes, (workload, arms) in zip(all_axes[0], panels):
        medians = {arm: max(Spread.of(row.get(figure_name) for row in of_arm).median for of_arm in by_allocator.values())
                   for arm, by_allocator in arms.items()}
        ordered = sorted(arms, key=medians.get, reverse=figure_name != "msgs_per_s")
        for place, arm in enumerate(ordered):
            names = sorted(arms[arm])
            height = 0.8 / len(names)
            for index, allocator in enumerate(names):
                spread = Spread.of(row[figure_name] * scale for row in arms[arm][allocator])
                axes.barh(place + (index - (len(names) - 1) / 2) * height, spread.median, height * 0.92, color=COLORS[allocator],
                          xerr=[[spread.median - spread.least], [spread.greatest - spread.median]],
                          error_kw={"elinewidth": 0.8, "ecolor": "#444444"})
        axes.set_yticks(range(len(ordered)), ordered, fontsize=9)
        for tick, arm in zip(axes.get_yticklabels(), ordered):
            tick.set_fontweight("bold" if arm.startswith(OURS) else "normal")
        axes.set_title(workload, fontsize=10)
        axes.tick_params(axis="x", labelsize=8)
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.set_xlim(left=0)
    legend(all_axes[0][-1], patches, {row["allocator"] for row in rows})
    figure.suptitle(title, fontsize=11)
    figure.tight_layout()
    finish(pyplot, figure, path)


def delays(pyplot, patches, rows: list[Row], workloads: list[str], path: Path) -> None:
    """Median, 99th and 99.9th percentile of the delay, on a logarithmic scale."""
    panels = [(name, grouped(rows, name)) for name in workloads]
    panels = [(name, arms) for name, arms in panels if arms]
    if not panels:
        return
    tallest = max(sum(map(len, arms.values())) for _, arms in panels)
    figure, all_axes = pyplot.subplots(1, len(panels), figsize=(5 * len(panels) + 1, 0.24 * tallest + 1.4), squeeze=False)
    for axes, (workload, arms) in zip(all_axes[0], panels):
        lines = [(arm, allocator, of_arm) for arm, by_allocator in arms.items() for allocator, of_arm in by_allocator.items()]
        lines.sort(key=lambda line: Spread.of(row["p99_us"] for row in line[2]).median, reverse=True)
        for place, (_, allocator, of_arm) in enumerate(lines):
            points = [Spread.of(row[name] for row in of_arm).median / 1000 for name in ("p50_us", "p99_us", "p999_us")]
            axes.plot(points, [place] * 3, color=COLORS[allocator], linewidth=1.2, zorder=1)
            for point, marker in zip(points, "o|D"):
                axes.scatter(point, place, marker=marker, s=28, color=COLORS[allocator], zorder=2)
        axes.set_xscale("log")
        axes.set_yticks(range(len(lines)), [arm if allocator == OWN else f"{arm}, {allocator}" for arm, allocator, _ in lines],
                        fontsize=8)
        axes.set_title(f"{workload}: ms to the handler (● p50, | p99, ◆ p99.9)", fontsize=10)
        axes.tick_params(axis="x", labelsize=8)
        axes.grid(axis="x", color="#dddddd", linewidth=0.6, which="both")
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
    figure.tight_layout()
    finish(pyplot, figure, path)


def partitions(pyplot, rows: list[Row], path: Path) -> None:
    """Records/s of a drain over the number of partitions."""
    counts = {"100B-1p": 1, "100B": 6, "100B-100p": 100, "100B-1000p": 1000}
    present = [name for name in counts if grouped(rows, name)]
    if len(present) < 3:
        return
    figure, axes = pyplot.subplots(figsize=(6.5, 3.8))
    series: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for name in present:
        for arm, by_allocator in grouped(rows, name).items():
            for allocator, of_arm in by_allocator.items():
                if allocator != "glibc":
                    series.setdefault((arm, allocator), []).append(
                        (counts[name], Spread.of(row["msgs_per_s"] / 1e6 for row in of_arm).median))
    for (arm, _), points in series.items():
        points.sort()
        axes.plot(*zip(*points), marker="o", markersize=3, linewidth=2 if arm.startswith(OURS) else 0.9, label=arm)
    axes.set_xscale("log")
    axes.set_xlabel("partitions", fontsize=9)
    axes.set_ylabel("M records/s, 100 B (mimalloc or its own allocator)", fontsize=8)
    axes.set_ylim(bottom=0)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=7, bbox_to_anchor=(1.0, 1.0), loc="upper left")
    finish(pyplot, figure, path)


def soaks(pyplot, rows: list[Row], path: Path) -> None:
    """Resident memory over ten minutes."""
    found = [row for row in rows if row.get("rss_mib_by_second")]
    if not found:
        return
    figure, axes = pyplot.subplots(figsize=(6.5, 3))
    for row in found:
        axes.plot(row["rss_mib_by_second"], linewidth=1, label=f"{row['arm']}, {row['allocator']}")
    axes.set_xlabel("seconds at 50,000 records/s", fontsize=9)
    axes.set_ylabel("resident MiB", fontsize=9)
    axes.set_ylim(bottom=0)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    finish(pyplot, figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where results.jsonl is, and the plots go")
    parser.add_argument("--environment", type=Path, help="of the virtual environment, where one is needed")
    arguments = parser.parse_args()
    try:
        import matplotlib
    except ImportError:
        in_environment(arguments.environment or arguments.folder / "environment")
        raise
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "kgroup"  # the same figures give the same file
    matplotlib.rcParams["svg.fonttype"] = "none"
    matplotlib.rcParams["font.family"] = "sans-serif"
    from matplotlib import patches, pyplot

    rows = [json.loads(line) for line in (arguments.folder / "results.jsonl").read_text().splitlines()]
    rows = [row for row in rows if "error" not in row]
    drains = ["100B", "1KiB", "lz4-100B"]
    bars(pyplot, patches, rows, drains, "msgs_per_s", 1e-6, "M records/s from a full backlog (more is better)",
         arguments.folder / "throughput.svg")
    bars(pyplot, patches, rows, drains, "cpu_ns_per_msg", 1, "CPU ns a record, whole process (less is better)",
         arguments.folder / "cpu.svg")
    delays(pyplot, patches, rows, ["latency-1k", "latency-50k"], arguments.folder / "latency.svg")
    partitions(pyplot, rows, arguments.folder / "partitions.svg")
    soaks(pyplot, rows, arguments.folder / "soak.svg")


if __name__ == "__main__":
    main()
