# SPDX-License-Identifier: MIT
"""The cluster's own promises: starting or stopping it twice is fine, nobody else's process is touched, and half a
download is none."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import cluster
from cluster import HERE, Brokers, ClusterError, OwnProcess


class CommandTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="kgroup-cluster-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def run_command(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, HERE / "cluster.py", *arguments], capture_output=True, text=True,
                              timeout=120)

    def process_id(self) -> int:
        return int((self.folder / "node-1" / "pid").read_text().split()[0])

    def test_starting_and_stopping_twice(self) -> None:
        directory = ("--dir", str(self.folder))
        self.addCleanup(self.run_command, "stop", *directory)
        first = self.run_command("start", *directory)
        self.assertEqual(0, first.returncode, first.stderr)
        self.assertRegex(first.stdout, r"\Abrokers=127\.0\.0\.1:\d+\n\Z")
        process = OwnProcess.of(self.process_id())
        self.assertTrue(process.running())
        second = self.run_command("start", *directory)
        self.assertEqual((0, first.stdout), (second.returncode, second.stdout))
        self.assertEqual(process, OwnProcess.of(self.process_id()))

        other = self.run_command("start", *directory, "--heap", "300m")
        self.assertEqual((1, ""), (other.returncode, other.stdout))
        self.assertIn("other settings", other.stderr)

        with Brokers(first.stdout.strip().removeprefix("brokers=")) as kafka:
            kafka.create_topic("kept", 2)
            kafka.produce("kept", 10)
            self.assertEqual({0: (0, 5), 1: (0, 5)}, kafka.log_ends("kept"))
        self.assertEqual(0, self.run_command("stop", *directory, "--keep-data").returncode)
        self.assertFalse(process.running())
        self.assertEqual(first.stdout, self.run_command("start", *directory).stdout)
        with Brokers(first.stdout.strip().removeprefix("brokers=")) as kafka:
            self.assertEqual({0: (0, 5), 1: (0, 5)}, kafka.log_ends("kept"))

        for _ in range(2):
            stopped = self.run_command("stop", *directory)
            self.assertEqual((0, "", ""), (stopped.returncode, stopped.stdout, stopped.stderr))
        self.assertFalse((self.folder / "node-1" / "data").exists())
        self.assertTrue((self.folder / "node-1" / "server.log").exists())


class OwnProcessTest(unittest.TestCase):
    def test_an_id_that_another_process_has_now_is_left_alone(self) -> None:
        child = subprocess.Popen(["sleep", "60"])
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        process = OwnProcess.of(child.pid)
        another = OwnProcess(child.pid, process.started + 1)
        self.assertTrue(process.running())
        self.assertFalse(another.running())
        another.end(5)
        self.assertIsNone(child.poll())
        process.end(5)
        self.assertIsNotNone(child.wait(5))
        self.assertFalse(process.running())


class JarsTest(unittest.TestCase):
    """With stand-ins for Maven and Java, so that what goes wrong does so when it should."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="kgroup-jars-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.programs = self.folder / "bin"
        self.programs.mkdir()
        self.jars = self.folder / "jars"
        environment = mock.patch.dict(os.environ, PATH=f"{self.programs}:/usr/bin:/bin", KGROUP_KAFKA_JARS=str(self.jars))
        environment.start()
        self.addCleanup(environment.stop)
        self.program("java", "exit 0")

    def program(self, name: str, script: str) -> None:
        (self.programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.programs / name).chmod(0o755)

    def maven(self, last: str) -> None:
        self.program("mvn", 'for word; do case $word in -DoutputDirectory=*) folder=${word#*=} ;; esac; done\n'
                            f'echo >> {self.folder}/runs; touch "$folder/kafka_2.13-1.jar"; {last}')

    def runs(self) -> int:
        return len((self.folder / "runs").read_text().splitlines())

    def test_a_broken_download_is_not_taken_for_a_whole_one(self) -> None:
        self.maven("echo the line was cut; exit 1")
        with self.assertRaisesRegex(ClusterError, "the line was cut"):
            cluster.jars()
        self.assertFalse(self.jars.exists())
        self.maven("exit 0")
        self.assertEqual(self.jars, cluster.jars())
        self.assertEqual(2, self.runs())
        cluster.jars()
        self.assertEqual(2, self.runs(), "fetched again")
        self.assertEqual({"bin", "jars", "jars.lock", "runs"}, set(os.listdir(self.folder)))

    def test_another_version_is_fetched_again(self) -> None:
        self.maven("exit 0")
        cluster.jars()
        (self.jars / "pom.xml").write_text(cluster.POM.replace(cluster.KAFKA_VERSION, "4.2.0"))
        cluster.jars()
        self.assertEqual(2, self.runs())

    def test_an_older_version_is_beside_it(self) -> None:
        self.maven("exit 0")
        self.assertEqual(self.folder / "jars-2.6.3", cluster.jars("2.6.3"))
        self.assertIn("<version>2.6.3</version>", (self.folder / "jars-2.6.3" / "pom.xml").read_text())
        self.assertEqual(self.jars, cluster.jars())
        self.assertEqual(2, self.runs())
        cluster.jars("2.6.3")
        self.assertEqual(2, self.runs())

    def test_a_given_kafka_is_taken_as_it_is(self) -> None:
        self.jars.mkdir()
        (self.jars / "kafka_2.13-3.9.0.jar").touch()
        self.assertEqual(self.jars, cluster.jars())


if __name__ == "__main__":
    unittest.main(verbosity=2)
