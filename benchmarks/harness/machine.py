# SPDX-License-Identifier: MIT
"""The machine: what it is, and how busy it is with other things."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cores() -> int:
    return len(os.sched_getaffinity(0))


def busy_seconds() -> float:
    """CPU time that all processes together (and the hypervisor, by stealing) have taken since boot."""
    user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:])
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND


def process_seconds(pid: int) -> float:
    """CPU time of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS_PER_SECOND


class Watch:
    """How much CPU was used by neither us nor the processes named, between its making and `foreign_cores()`."""

    def __init__(self, processes: list[int]) -> None:
        self._processes = processes
        self._began = time.monotonic()
        self._busy = busy_seconds()
        self._ours = self._our_seconds()

    def _our_seconds(self) -> float:
        return sum(process_seconds(pid) for pid in [os.getpid(), *self._processes])

    def foreign_cores(self) -> float:
        """The average number of cores busy with other things. Children of ours count as ours once they have ended."""
        foreign = (busy_seconds() - self._busy) - (self._our_seconds() - self._ours)
        return max(0.0, foreign / max(time.monotonic() - self._began, 0.01))


def wait_until_quiet(processes: list[int], patience: float, limit: float) -> None:
    """Waits until others use less than `limit` cores for half a second, `patience` seconds at most."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        watch = Watch(processes)
        time.sleep(0.5)
        if watch.foreign_cores() < limit:
            return


def _first_line(*command: str) -> str:
    try:
        outcome = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (outcome.stdout or outcome.stderr).strip().splitlines()[0] if outcome.returncode == 0 else ""


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return ""


def describe(checkout: Path) -> dict:
    """What a reader must know of the machine to read the figures. Names no host."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": _first_line("git", "-C", str(checkout), "rev-parse", "--short", "HEAD"),
        "cpu": _field("/proc/cpuinfo", "model name"),
        "cores": cores(),
        "hypervisor": "hypervisor" in _field("/proc/cpuinfo", "flags"),
        "memory_gib": round(int(_field("/proc/meminfo", "MemTotal").split()[0]) / 2**20),
        "system": release.get("PRETTY_NAME", "").strip('"'),
        "kernel": platform.release(),
        "c++": _first_line("c++", "--version"),
        "go": _first_line("go", "version"),
        "java": _first_line("java", "--version"),
        "rust": _first_line("rustc", "--version"),
    }
