# SPDX-License-Identifier: MIT
"""What is compared: the arms, how each is built and started."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from .figures import BUNDLED, NONE, OWN

FOLDER = Path(__file__).resolve().parent.parent
CONSUME, PRODUCE, PROCESS = "consume", "produce", "process"  # kinds of work
INSTALLED = "installed"
NEWEST = "newest"


class Missing(Exception):
    """An arm cannot be built here; the text names what is missing."""


@dataclasses.dataclass(frozen=True)
class Arm:
    name: str
    toolchain: str
    commands: dict[str, tuple[str, ...]]  # for each kind of work that it can: the command, within the toolchain's folder of programs
    allocators: tuple[str, ...]
    libraries: tuple[str, ...]


def _native(name: str, *consume: str, libraries: tuple[str, ...] = (INSTALLED, NEWEST), **commands: tuple[str, ...]) -> Arm:
    return Arm(name, "native", {CONSUME: consume, **commands} if consume else commands, ("glibc", "mimalloc"), libraries)


def _other(name: str, toolchain: str, **commands: tuple[str, ...]) -> Arm:
    return Arm(name, toolchain, commands, (OWN,), (NONE,))


ARMS = [
    _native("kgroup", "kgroup_arm", "--mode", "record", produce=("kgroup_produce_arm",), process=("kgroup_process_arm", "--mode", "for_each")),
    _native("kgroup-batch", "kgroup_arm", "--mode", "batch"),
    _native("kgroup-pool", "kgroup_arm", "--mode", "pool"),
    _native("kgroup-direct", "kgroup_direct_arm", "--mode", "record"),
    _native("kgroup-direct-batch", "kgroup_direct_arm", "--mode", "batch"),
    _native("kgroup-direct-pool", "kgroup_direct_arm", "--mode", "pool"),
    _native("bare-poll", "bare_arm", "--mode", "poll", produce=("bare_produce_arm",)),
    _native("bare-split", "bare_arm", "--mode", "split"),
    _native("bare-batch", "bare_arm", "--mode", "batch"),
    _native("rdkafkacpp", "rdkafkacpp_arm", libraries=(INSTALLED,)),
    _native("lane-map", process=("kgroup_process_arm", "--mode", "lane_map")),
    _other("sarama", "go", consume=("sarama",), produce=("sarama-produce",)),
    _other("franz-go", "go", consume=("franz-go",), produce=("franz-go-produce",)),
    _other("java", "java", consume=("java-arm-1.jar", "kgroup.benchmarks.Arm")),
    _other("parallel-consumer", "parallel-java", process=("parallel-java-arm-1.jar", "kgroup.benchmarks.ParallelArm")),
    Arm("rust-rdkafka", "rust", {CONSUME: ("rust-rdkafka-arm",)}, ("glibc", "mimalloc"), (BUNDLED,)),
    Arm("confluent-python", "python", {CONSUME: ("arm.py",)}, ("glibc",), (BUNDLED,)),
]
BASELINE = "kgroup"


@dataclasses.dataclass(frozen=True)
class Variant:
    """An arm with its allocator and its librdkafka."""

    arm: Arm
    allocator: str
    library: str

    def __str__(self) -> str:
        words = [self.arm.name]
        if self.allocator != OWN:
            words.append(self.allocator)
        if self.library == NEWEST:
            words.append("newest librdkafka")
        return " ".join(words)


def _run(command: list[str], log: Path, **options) -> None:
    with open(log, "a") as output:
        output.write(f"$ {' '.join(command)}\n")
        output.flush()
        outcome = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **options)
    if outcome.returncode != 0:
        tail = "\n    ".join(log.read_text(errors="replace").splitlines()[-15:])
        raise Missing(f"{command[0]} failed, see {log}:\n    {tail}")


def _need(program: str) -> None:
    if shutil.which(program) is None:
        raise Missing(f"{program} is not installed")


class Programs:
    """Builds arms and tools below one folder, each toolchain once."""

    def __init__(self, build: Path, jobs: int) -> None:
        self._build = build
        self._jobs = jobs
        self._done: dict[str, Missing | None] = {}
        build.mkdir(parents=True, exist_ok=True)

    @property
    def _programs(self) -> Path:
        return self._build / "native" / "benchmarks" / "programs"

    def tool(self, name: str) -> str:
        """A C or C++ program of benchmarks/CMakeLists.txt, by its target."""
        return str(self._programs / name)

    @property
    def launcher(self) -> Path:
        return self._programs / "run_measured"

    def prepare(self, toolchain: str) -> None:
        """Raises Missing, each time the same, where it cannot be had."""
        if toolchain not in self._done:
            builders: dict[str, Callable[[Path], None]] = {
                "native": self._prepare_native, "go": self._prepare_go, "java": lambda log: self._prepare_java("java", log),
                "parallel-java": lambda log: self._prepare_java("parallel-java", log),
                "rust": self._prepare_rust, "python": self._prepare_python,
            }
            log = self._build / f"{toolchain}.log"
            log.unlink(missing_ok=True)
            print(f"building: {toolchain}", file=sys.stderr, flush=True)
            try:
                builders[toolchain](log)
                self._done[toolchain] = None
            except Missing as missing:
                self._done[toolchain] = missing
        if self._done[toolchain] is not None:
            raise self._done[toolchain]

    def _prepare_native(self, log: Path) -> None:
        for program in ("cmake", "pkg-config", "c++"):
            _need(program)
        _run(["cmake", "-S", str(FOLDER.parent), "-B", str(self._build / "native"), "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
              "-DKGROUP_BUILD_BENCHMARKS=ON", "-DKGROUP_BUILD_TESTS=OFF", "-DKGROUP_BUILD_EXAMPLES=OFF"], log)
        self._build_target("benchmark_tools", log)

    def _build_target(self, target: str, log: Path) -> None:
        _run(["cmake", "--build", str(self._build / "native"), "--target", target, "-j", str(self._jobs)], log)

    def build(self, target: str) -> str:
        """Builds a C or C++ program of benchmarks/CMakeLists.txt; where it is then. Raises Missing when it is not to be had."""
        self.prepare("native")
        self._build_target(target, self._build / f"{target}.log")
        return self.tool(target)

    def _prepare_go(self, log: Path) -> None:
        _need("go")
        _run(["go", "build", "-mod=readonly", "-o", str(self._build / "go") + "/", "./sarama", "./franz-go",
              "./sarama-produce", "./franz-go-produce"], log,
             cwd=FOLDER / "arms" / "go")

    def _prepare_java(self, name: str, log: Path) -> None:
        _need("java")
        _need("mvn")
        _run(["mvn", "--batch-mode", "--quiet", "-f", str(FOLDER / "arms" / name / "pom.xml"), "package",
              f"-Doutput={self._build / name}"], log)

    def _prepare_rust(self, log: Path) -> None:
        _need("cargo")
        _run(["cargo", "build", "--release", "-j", str(self._jobs), "--manifest-path",
              str(FOLDER / "arms" / "rust-rdkafka" / "Cargo.toml")], log,
             env={**os.environ, "CARGO_TARGET_DIR": str(self._build / "rust")})

    def _prepare_python(self, log: Path) -> None:
        requirements = FOLDER / "arms" / "confluent-python" / "requirements.txt"
        folder = self._build / "python"
        if not (folder / "bin" / "python").exists():
            _run([sys.executable, "-m", "venv", str(folder)], log)
        _run([str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)], log)

    def has(self, arm: Arm, kinds: set[str]) -> None:
        """Raises Missing when the arm's programs for these kinds of work are not to be had."""
        if arm.toolchain == "native":
            for kind in sorted(kinds & arm.commands.keys()):
                self.build(arm.commands[kind][0])
        else:
            self.prepare(arm.toolchain)

    def command(self, arm: Arm, kind: str) -> list[str]:
        program, *options = arm.commands[kind]
        if arm.toolchain in ("java", "parallel-java"):
            folder = self._build / arm.toolchain
            return ["java", "-Xmx1g", "-cp", f"{folder / program}:{folder / 'libs'}/*", *options]
        if arm.toolchain == "python":
            return [str(self._build / "python" / "bin" / "python"), str(FOLDER / "arms" / "confluent-python" / program)]
        folder = {"native": self._programs, "go": self._build / "go", "rust": self._build / "rust" / "release"}[arm.toolchain]
        return [str(folder / program), *options]

    def allocator(self) -> str:
        """mimalloc's shared library, by the name under which it is preloaded."""
        cache = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, env={**os.environ, "PATH":
                               os.environ.get("PATH", "") + ":/sbin:/usr/sbin"})
        for line in cache.stdout.splitlines():
            if line.strip().startswith("libmimalloc.so"):
                return line.rpartition("=> ")[2].strip()
        raise Missing("mimalloc's shared library is not installed (Debian: libmimalloc2.0 or libmimalloc3)")

    def newest_library(self) -> Path:
        """A folder with the newest librdkafka under the name that programs ask for; it comes inside confluent-kafka for Python."""
        self.prepare("python")
        found = sorted((self._build / "python").glob("lib/python*/site-packages/confluent_kafka.libs/librdkafka-*.so.1"))
        if not found:
            raise Missing("confluent-kafka for Python holds no librdkafka here")
        folder = self._build / "newest"
        folder.mkdir(exist_ok=True)
        link = folder / "librdkafka.so.1"
        link.unlink(missing_ok=True)
        link.symlink_to(found[-1])
        return folder

    def environment(self, variant: Variant) -> dict[str, str]:
        environment = {}
        if variant.allocator == "mimalloc":
            environment["LD_PRELOAD"] = self.allocator()
        if variant.library == NEWEST:
            environment["LD_LIBRARY_PATH"] = str(self.newest_library())
        return environment
