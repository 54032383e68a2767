# SPDX-License-Identifier: MIT
"""benchmarks/run --micro: what kgroup's own steps cost, and what its headers cost to include."""

from __future__ import annotations

import json
import resource
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

from .arms import FOLDER, Missing, Programs
from .figures import Spread

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

INCLUDING_PROGRAM = "#include <kgroup/kgroup.hpp>\n" + BARE_PROGRAM
SEPARATELY = "#define KGROUP_SEPARATE_COMPILATION\n"

PROGRAMS = {
    "a bare co_spawn program": BARE_PROGRAM,
    "the same with #include <kgroup/kgroup.hpp>": INCLUDING_PROGRAM,
    "that, compiled separately": SEPARATELY + INCLUDING_PROGRAM,
    "a program that consumes": CONSUMING_PROGRAM,
    "a program that consumes, compiled separately": SEPARATELY + CONSUMING_PROGRAM,
    "the file with #include <kgroup/src.hpp>": "#include <kgroup/src.hpp>\n",
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
    command = [program, f"--benchmark_repetitions={REPETITIONS}", "--benchmark_enable_random_interleaving=true",
               f"--benchmark_out={path}", "--benchmark_out_format=json"]
    if counters_available():
        command.append(f"--benchmark_perf_counters={','.join(COUNTERS)}")
    outcome = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if outcome.returncode != 0:
        raise Missing(f"micro_benchmarks ended with status {outcome.returncode}:\n{outcome.stdout[-2000:]}")
    return json.loads(path.read_text())


def micro_table(results: dict) -> str:
    """ns of each step: per record where it counts records; of CPU where one thread does it all, else of time passed."""
    steps: dict[str, list[dict]] = {}
    entries = [entry for entry in results["benchmarks"] if entry["run_type"] == "iteration"]
    for entry in sorted(entries, key=lambda entry: (entry["family_index"], entry["per_family_instance_index"])):
        steps.setdefault(entry["run_name"], []).append(entry)
    lines = ["| step | ns | least–greatest |", "|---|---|---|"]
    for name, repetitions in steps.items():
        step, *details = name.split("/")
        threads = [detail for detail in details if detail.isdigit()]
        spread = Spread.of(1e9 / entry["items_per_second"] if "items_per_second" in entry
                           else entry["real_time" if "real_time" in details else "cpu_time"] for entry in repetitions)
        lines.append(f"| {step}{', threads: ' + threads[0] if threads else ''} | {spread.median:.1f} | "
                     f"{spread.least:.1f}–{spread.greatest:.1f} |")
    return "\n".join(lines)


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def include_cost(compilers: list[str]) -> list[dict]:
    """Lines after the preprocessor, and CPU seconds of a compilation without optimisation: medians of compilations made in turn."""
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
                        began = _children_seconds()
                        subprocess.run([compiler, *flags, "-c", str(folder / f"{index}.cpp"), "-o", str(folder / "out.o")],
                                       check=True, capture_output=True)
                        seconds[about].append(_children_seconds() - began)
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
