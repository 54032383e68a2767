# SPDX-License-Identifier: MIT
"""The tables of one run, and of several together."""

import json
import tempfile
import unittest
from pathlib import Path

from harness.report import merged, summary

MACHINE = {"date": "2026-01-01", "commit": "abc", "cpu": "a processor", "cores": 2, "hypervisor": False, "memory_gib": 8,
           "system": "a system", "kernel": "6", "c++": "c++ 12", "kafka": "4", "rounds": 2, "scale": 1.0}


def row(arm: str, round_number: int, rate: float) -> dict:
    return {"arm": arm, "workload": "100B", "allocator": "glibc", "librdkafka": "installed", "round": round_number, "version": f"{arm} 1",
            "msgs_per_s": rate, "cpu_ns_per_msg": 500.0, "peak_rss_mib": 10.0, "foreign_cores": 0.0}


class SeveralRuns(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self._folder = Path(folder.name)

    def run_of(self, name: str, rows: list[dict]) -> Path:
        folder = self._folder / name
        folder.mkdir()
        (folder / "machine.json").write_text(json.dumps({**MACHINE, "commit": name}))
        (folder / "results.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
        return folder / "results.jsonl"

    def test_ratios_stay_inside_the_rounds_of_each(self):
        slow = self.run_of("slow", [row("kgroup", 1, 1e6), row("bare-split", 1, 0.5e6)])
        fast = self.run_of("fast", [row("kgroup", 1, 9e6), row("bare-split", 1, 4.5e6), row("kgroup", 2, 9e6)])
        rows, machine = merged([slow, fast])
        self.assertEqual(len({(each["round"], each["arm"]) for each in rows}), len(rows))
        self.assertEqual(machine["commit"], "slow")
        self.assertEqual(machine["rounds"], "2 to 3")
        text = summary(rows, machine, "kgroup")
        self.assertIn("| bare-split (glibc) | 2.50 (0.50–4.50) | 500 | 10 | 2.00 | 1.00 | 2 |", text)
        self.assertIn("2 to 3 rounds", text)

    def test_one_run_is_as_it_was(self):
        rows, machine = merged([self.run_of("one", [row("kgroup", 1, 1e6), row("kgroup", 2, 3e6)])])
        self.assertEqual([each["round"] for each in rows], [1, 2])
        self.assertEqual(machine["rounds"], "2")
