"""benchmarks/run --micro: what kgroup's own steps cost, and what its headers cost to include."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from .arms import FOLDER, Missing, Programs

REPETITIONS = 5
COUNTERS = ("CYCLES", "INSTRUCTIONS", "BRANCH-MISSES")

BARE_PROGRAM = """
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

asio::awaitable<void> nothing() { co_return; }

int main()
{
    asio::io_context context;
    asio::co_spawn(context, nothing(), asio::detached);
    context.run();
}
"""

CONSUMING_PROGRAM = """
#include <kgroup/kgroup.hpp>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>

struct handler {
    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim)
    {
        while (auto message = co_await claim.messages().async_receive())
            claim.mark(*message);
    }
};

int main()
{
    asio::io_context context;
    kgroup::config config;
    config.brokers = "127.0.0.1:9092";
    config.group_id = "group";
    config.topics = {"topic"};
    config.initial_offset = kgroup::offset_reset::earliest;
    kgroup::consumer_group group{context.get_executor(), config};
    handler h;
    asio::co_spawn(context, group.async_run(h), asio::detached);
    context.run();
}
"""

PROGRAMS = {
    "a bare co_spawn program": BARE_PROGRAM,
    "the same with #include <kgroup/kgroup.hpp>": "#include <kgroup/kgroup.hpp>\n" + BARE_PROGRAM,
    "a program that consumes": CONSUMING_PROGRAM,
}


def counters_available() -> bool:
    """Whether this machine lets a process count cycles; virtual machines often do not."""
    if shutil.which("perf") is None:
        return False
    outcome = subprocess.run(["perf", "stat", "-x,", "-e", "cycles", "true"], capture_output=True, text=True)
    return outcome.returncode == 0 and "not supported" not in outcome.stderr


def run_micro(programs: Programs, output: Path) -> dict:
    """Google Benchmark's JSON."""
    program = programs.build("micro_benchmarks")
    path = output / "micro.json"
    command = [program, f"--benchmark_repetitions={REPETITIONS}", "--benchmark_report_aggregates_only=true",
               "--benchmark_enable_random_interleaving=true", f"--benchmark_out={path}", "--benchmark_out_format=json"]
    if counters_available():
        command.append(f"--benchmark_perf_counters={','.join(COUNTERS)}")
    outcome = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if outcome.returncode != 0:
        raise Missing(f"micro_benchmarks ended with status {outcome.returncode}:\n{outcome.stdout[-2000:]}")
    return json.loads(path.read_text())


def micro_table(results: dict) -> str:
    """Median and spread of each; for those that count records, ns a record."""
    medians = {entry["run_name"]: entry for entry in results["benchmarks"] if entry.get("aggregate_name") == "median"}
    deviations = {entry["run_name"]: entry for entry in results["benchmarks"] if entry.get("aggregate_name") == "stddev"}
    lines = ["| step | ns | standard deviation |", "|---|---|---|"]
    for name, entry in medians.items():
        if "items_per_second" in entry:
            median = 1e9 / entry["items_per_second"]
            deviation = median * deviations[name]["items_per_second"] / entry["items_per_second"]
        else:
            median, deviation = entry["real_time"], deviations[name]["real_time"]
        lines.append(f"| {name.replace('/manual_time', '').replace('/real_time', '')} | {median:.1f} | {deviation:.1f} |")
    return "\n".join(lines)


def include_cost(compilers: list[str]) -> list[dict]:
    """Lines after the preprocessor and seconds of a compilation without optimisation, for each program and compiler; medians, in turn."""
    flags = ["-std=c++20", "-DASIO_STANDALONE", "-DASIO_NO_DEPRECATED", f"-I{FOLDER.parent / 'include'}"]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for index, source in enumerate(PROGRAMS.values()):
            (folder / f"{index}.cpp").write_text(source)
        for compiler in compilers:
            seconds: dict[str, list[float]] = {about: [] for about in PROGRAMS}
            lines = {}
            try:
                for index, about in enumerate(PROGRAMS):
                    text = subprocess.run([compiler, *flags, "-E", str(folder / f"{index}.cpp")], check=True, capture_output=True).stdout
                    lines[about] = sum(1 for line in text.splitlines() if line.strip() and not line.startswith(b"#"))
                for _ in range(REPETITIONS):
                    for index, about in enumerate(PROGRAMS):
                        began = time.monotonic()
                        subprocess.run([compiler, *flags, "-c", str(folder / f"{index}.cpp"), "-o", str(folder / "out.o")],
                                       check=True, capture_output=True)
                        seconds[about].append(time.monotonic() - began)
            except subprocess.CalledProcessError as failure:
                raise Missing(f"{compiler} cannot compile it: {failure.stderr.decode()[:500]}") from None
            bare = statistics.median(seconds[next(iter(PROGRAMS))])
            rows += [{"compiler": compiler, "program": about, "lines": lines[about],
                      "seconds": round(statistics.median(seconds[about]), 3),
                      "times_bare": round(statistics.median(seconds[about]) / bare, 2)} for about in PROGRAMS]
    return rows


def include_table(rows: list[dict]) -> str:
    lines = ["| program | compiler | lines | seconds at -O0 | ÷ bare |", "|---|---|---|---|---|"]
    lines += [f"| {row['program']} | {row['compiler']} | {row['lines']:,} | {row['seconds']:.2f} | {row['times_bare']:.2f} |" for row in rows]
    return "\n".join(lines)
