# SPDX-License-Identifier: MIT
"""An arm that does not do the work is caught: scripted arms, run by the real launcher through the real workloads, with no Kafka."""

import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

from harness.arms import Arm, Variant
from harness.kafka import Kafka, Topic
from harness.processes import ArmFailed, Member
from harness.workloads import Bench, Sample, TopicKind, check_complete, check_read, drain, produced

FOLDER = Path(__file__).resolve().parent.parent
TOPIC = Topic("filled", 2, 1000, 100_000, "00000000000000ff")
HONEST = {"event": "result", "client": "scripted 1", "msgs": 1000, "bytes": 100_000, "checksum": "00000000000000ff",
          "first_unix_ns": 1_000_000_000, "last_unix_ns": 1_500_000_000, "spun": "0"}


class ScriptedPrograms:
    """In place of Programs: the arm is a script."""

    def __init__(self, folder: Path, script: str) -> None:
        self.launcher = folder / "run_measured"
        subprocess.run(["cc", "-D_GNU_SOURCE", "-o", str(self.launcher), str(FOLDER / "tools" / "run_measured.c")], check=True)
        self._script = folder / "arm.py"
        self._script.write_text(script)

    def command(self, _arm, _kind) -> list[str]:
        return [sys.executable, str(self._script)]

    def environment(self, _variant) -> dict[str, str]:
        return {}


class ScriptedKafka(Kafka):
    """In place of a running one: a topic that is said to be filled, and a group that has committed what it is told."""

    def __init__(self, committed: list[int]) -> None:
        self.brokers = "127.0.0.1:1"
        self._committed = committed

    def filled(self, _kind) -> Topic:
        return TOPIC

    def fresh(self, _kind) -> Topic:
        return TOPIC

    def group(self) -> str:
        return "a-group"

    def offsets(self, _topic, _group):
        return self._committed, [500, 500]


def arm_that_prints(result: dict, exit_status: int = 0) -> str:
    return textwrap.dedent(f"""
        import json
        print(json.dumps({{"event": "assigned", "partitions": 2}}), flush=True)
        print(json.dumps({result!r}), flush=True)
        raise SystemExit({exit_status})
    """)


class Scripted(unittest.TestCase):
    def setUp(self):
        self._folder = tempfile.TemporaryDirectory()
        self.addCleanup(self._folder.cleanup)

    def bench(self, script: str, committed: tuple[int, int] = (500, 500)) -> Bench:
        folder = Path(self._folder.name)
        bench = Bench(ScriptedPrograms(folder, script), ScriptedKafka(list(committed)),
                      Variant(Arm("scripted", "python", {}, ("own",), ("none",)), "own", "none"), 1.0, folder)
        self.addCleanup(bench.close)
        return bench


class Draining(Scripted):
    def drained(self, script: str, committed: tuple[int, int] = (500, 500)) -> dict:
        return drain(self.bench(script, committed), TopicKind(2, 100, 1000))

    def test_an_honest_arm_passes_with_its_figures(self):
        row = self.drained(arm_that_prints(HONEST))
        self.assertEqual((row["msgs"], row["seconds"], row["msgs_per_s"]), (1000, 0.5, 2000))
        self.assertGreater(row["cpu_ns_per_msg"], 0)
        self.assertGreater(row["peak_rss_mib"], 1)

    def test_an_arm_that_loses_a_record_is_caught(self):
        with self.assertRaisesRegex(ArmFailed, "read 999 records of 1000"):
            self.drained(arm_that_prints({**HONEST, "msgs": 999}))

    def test_an_arm_that_reads_one_record_twice_instead_of_another_is_caught(self):
        with self.assertRaisesRegex(ArmFailed, "not 100000 with 00000000000000ff"):
            self.drained(arm_that_prints({**HONEST, "checksum": "00000000000000fe"}))

    def test_an_arm_that_does_not_commit_everything_is_caught(self):
        with self.assertRaisesRegex(ArmFailed, "1: 499 of 500"):
            self.drained(arm_that_prints(HONEST), committed=(500, 499))

    def test_an_arm_that_commits_nothing_is_caught(self):
        with self.assertRaisesRegex(ArmFailed, "0: -1 of 500"):
            self.drained(arm_that_prints(HONEST), committed=(-1, 500))

    def test_an_arm_that_fails_is_caught(self):
        with self.assertRaisesRegex(ArmFailed, "status 3"):
            self.drained(arm_that_prints(HONEST, exit_status=3))

    def test_an_arm_that_never_joins_is_caught(self):
        with self.assertRaisesRegex(ArmFailed, "no 'assigned'.*cannot connect"):
            self.drained("import sys; sys.exit('cannot connect')")


class Producing(Scripted):
    """The logs of ScriptedKafka end at 500."""

    def test_an_honest_arm_passes_with_its_figures(self):
        row = produced(self.bench(arm_that_prints(HONEST)), 2, 100, 1000)
        self.assertEqual((row["msgs"], row["seconds"], row["msgs_per_s"]), (1000, 0.5, 2000))

    def test_an_arm_whose_records_are_not_all_acknowledged_is_caught(self):
        with self.assertRaisesRegex(ArmFailed, "999 records of 1000"):
            produced(self.bench(arm_that_prints({**HONEST, "msgs": 999})), 2, 100, 1000)

    def test_an_arm_whose_records_are_not_in_the_logs_is_caught(self):
        with self.assertRaisesRegex(ArmFailed, "the logs end at"):
            produced(self.bench(arm_that_prints({**HONEST, "msgs": 1200})), 2, 100, 1200)


class Launching(unittest.TestCase):
    def test_peak_memory_is_the_arms_own_and_not_that_of_the_process_that_starts_it(self):
        ballast = bytearray(200 << 20)
        with tempfile.TemporaryDirectory() as folder:
            programs = ScriptedPrograms(Path(folder), arm_that_prints(HONEST))
            member = Member(programs.launcher, programs.command(None, None), {})
            _, used = member.wait(30)
            member.kill()
        self.assertLess(used.peak_rss_kib, 100 << 10, f"beside {len(ballast) >> 20} MiB of ours")


class Completeness(unittest.TestCase):
    def samples(self, *places):
        return [Sample(0, 0, partition, offset) for partition, offset in places]

    def test_a_skipped_record_is_caught(self):
        with self.assertRaisesRegex(ArmFailed, "partition 1: 1 records skipped"):
            check_complete(self.samples((0, 0), (0, 1), (1, 0), (1, 2)), 2)

    def test_a_record_read_twice_is_counted(self):
        self.assertEqual(check_complete(self.samples((0, 0), (0, 1), (0, 1), (1, 0)), 2), 1)

    def test_bytes_count_too(self):
        with self.assertRaises(ArmFailed):
            check_read({**HONEST, "bytes": 99_999}, 1000, 100_000, HONEST["checksum"])


if __name__ == "__main__":
    unittest.main()
