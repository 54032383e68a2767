# SPDX-License-Identifier: MIT
"""An arm as a process: started, listened to, ended, and what it used."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path


class ArmFailed(Exception):
    """An arm did not do its work; the text says what it did instead."""


@dataclasses.dataclass(frozen=True)
class Used:
    """What a process used, from its start to its end."""

    pid: int
    exit_status: int
    user_seconds: float
    system_seconds: float
    peak_rss_kib: int
    seconds: float

    @property
    def cpu_seconds(self) -> float:
        return self.user_seconds + self.system_seconds


class Member:
    """A running arm. Its JSON lines arrive on a thread of their own."""

    def __init__(self, launcher: Path, command: list[str], environment: dict[str, str]) -> None:
        self._report = Path(tempfile.mkstemp(prefix="kgroup-benchmark-")[1])
        self._errors = tempfile.TemporaryFile("w+")
        self._changed = threading.Condition()
        self._lines: list[dict] = []
        self._ended = False
        self.started_unix_ns = time.time_ns()
        self._process = subprocess.Popen([str(launcher), str(self._report), *command], stdin=subprocess.DEVNULL,
                                         stdout=subprocess.PIPE, stderr=self._errors, text=True,
                                         env={**os.environ, **environment})
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout:
            with contextlib.suppress(json.JSONDecodeError), self._changed:
                self._lines.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def events(self, name: str) -> list[dict]:
        with self._changed:
            return [line for line in self._lines if line.get("event") == name]

    def wait_for_event(self, name: str, bound: float) -> dict:
        """The first event of that name."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or any(line.get("event") == name for line in self._lines), bound)
        found = self.events(name)
        if not found:
            raise ArmFailed(f"no '{name}' within {bound:.0f} s{self._words()}")
        return found[0]

    @property
    def pid(self) -> int:
        """Of the arm itself, not of the launcher."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        if not children:
            raise ArmFailed(f"it has ended already{self._words()}")
        return int(children[0])

    def status_kib(self, field: str) -> int:
        """A size from /proc/PID/status, such as VmRSS."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
        raise ArmFailed(f"no {field} of the process")

    def maps(self, library: str) -> bool:
        """Whether a shared library whose file's name holds `library` is loaded."""
        return library in Path(f"/proc/{self.pid}/maps").read_text()

    def running(self) -> bool:
        return self._process.poll() is None

    def terminate(self) -> None:
        if self.running():
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Whatever state it is in: nothing of it stays behind."""
        with contextlib.suppress(OSError, ArmFailed):
            os.kill(self.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()
        self._errors.close()
        self._report.unlink(missing_ok=True)

    def wait(self, bound: float) -> tuple[dict, Used]:
        """Its result and what it used, once it has ended; it must end within `bound` seconds, with status 0."""
        try:
            self._process.wait(bound)
        except subprocess.TimeoutExpired:
            progress = self.events("progress")
            read = f", {progress[-1]['msgs']} records read" if progress else ""
            raise ArmFailed(f"did not end within {bound:.0f} s{read}{self._words()}") from None
        self._reader.join()
        used = Used(**json.loads(self._report.read_text()))
        if used.exit_status != 0:
            raise ArmFailed(f"ended with status {used.exit_status}{self._words()}")
        results = self.events("result")
        if len(results) != 1:
            raise ArmFailed(f"printed {len(results)} results instead of one{self._words()}")
        return results[0], used

    def _words(self) -> str:
        self._errors.seek(0)
        words = self._errors.read().strip()
        return f": {words[-1000:]}" if words else ""


def run_tool(command: list[str], bound: float = 600.0) -> dict:
    """Runs one of the broker-side tools; its one JSON line."""
    outcome = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=bound)
    if outcome.returncode != 0:
        raise ArmFailed(f"{Path(command[0]).name} failed: {outcome.stderr.strip()[-1000:]}")
    return json.loads(outcome.stdout)
