# SPDX-License-Identifier: MIT
"""A real Apache Kafka for the tests: one node, or several, on loopback; with KRaft, of versions before 3.3 with ZooKeeper.

As a command:

    cluster.py start --dir DIR [--port P] [--nodes N] [--property k=v ...] [--heap 512m] [--version V]
    cluster.py stop --dir DIR [--keep-data]
    cluster.py jars

`start` fetches Kafka's jars if they are not there, starts the nodes, asks them until they answer, prints
`brokers=127.0.0.1:PORT[,...]` and leaves them running; on a cluster that runs already it prints the same line. `stop`
ends exactly the processes that `start` left in DIR, and removes their data (server logs stay). Both may be repeated.

As a module: `Cluster` is such a cluster for the length of a `with` block, and cannot outlive the process that made it;
`Brokers` is any running Kafka by its addresses, with what a test wants to do to it.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import dataclasses
import fcntl
import itertools
import json
import os
import random
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from concurrent.futures import Future
from pathlib import Path

KAFKA_VERSION = "4.3.0"
"""Of what the tests themselves run on, and of brokers for which nothing else is said."""
HERE = Path(__file__).resolve().parent
OAUTH = "org.apache.kafka.common.security.oauthbearer"

def _dependency(group: str, artifact: str, version: str) -> str:
    return (f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
            f"<version>{version}</version></dependency>")


def _pom(version: str) -> str:
    dependencies = [_dependency("org.apache.kafka", "kafka_2.13", version),
                    _dependency("org.slf4j", "slf4j-simple", "1.7.36")]
    if version == KAFKA_VERSION:
        dependencies.insert(1, _dependency("org.apache.kafka", "kafka-tools", version))
    lines = "\n    ".join(dependencies)
    return f"""<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>kgroup.tests</groupId>
  <artifactId>kafka-for-tests</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    {lines}
  </dependencies>
</project>
"""


POM = _pom(KAFKA_VERSION)
COPY_DEPENDENCIES = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


class ClusterError(Exception):
    """Kafka could not be fetched, started, stopped or asked; the text says what to do."""


# ---------------------------------------------------------------- jars


def jars(version: str = KAFKA_VERSION) -> Path:
    """The folder of Kafka's jars: $KGROUP_KAFKA_JARS, or build/kafka-jars of the checkout; another version's is beside it.

    Maven fills it the first time. A folder that holds jars and no pom.xml (an unpacked Kafka's `libs`) is taken as it is.
    """
    folder = Path(os.environ.get("KGROUP_KAFKA_JARS") or HERE.parents[2] / "build" / "kafka-jars").absolute()
    if version != KAFKA_VERSION:
        folder = folder.with_name(f"{folder.name}-{version}")
    if _holds_jars(folder, version):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(folder.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test may be fetching at this moment
        if not _holds_jars(folder, version):
            _fetch_jars(folder, version)
    return folder


def _holds_jars(folder: Path, version: str) -> bool:
    if not any(folder.glob("kafka_2.13-*.jar")):
        return False
    pom = folder / "pom.xml"
    return not pom.exists() or pom.read_text() == _pom(version)


def _fetch_jars(folder: Path, version: str) -> None:
    if shutil.which("mvn") is None or shutil.which("java") is None:
        raise ClusterError("Apache Kafka for the tests needs Java and Maven: install default-jdk-headless and maven, "
                           "or let KGROUP_KAFKA_JARS name the libs folder of an unpacked Kafka")
    print(f"fetching Apache Kafka {version} into {folder}", file=sys.stderr, flush=True)
    # Filled beside its place and renamed as a whole: a download cut short is never taken for a good one.
    staging = Path(tempfile.mkdtemp(prefix=folder.name + ".", dir=folder.parent))
    try:
        (staging / "pom.xml").write_text(_pom(version))
        outcome = subprocess.run(
            ["mvn", "--batch-mode", "--quiet", "--strict-checksums", "-f", str(staging / "pom.xml"), COPY_DEPENDENCIES,
             f"-DoutputDirectory={staging}", "-DincludeScope=runtime"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if outcome.returncode != 0:
            raise ClusterError(f"Maven could not fetch Apache Kafka {version}:\n{outcome.stdout[-4000:]}")
        staging.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def java_command(*arguments: str, heap: str = "256m", options: tuple[str, ...] = (),
                 version: str = KAFKA_VERSION) -> list[str]:
    """`java` with Kafka's jars on its class path, small, and sparing with the cores."""
    if shutil.which("java") is None:
        raise ClusterError("Apache Kafka for the tests needs Java: install default-jdk-headless")
    return ["java", f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:-UsePerfData", *options,
            "-cp", f"{jars(version)}/*", *arguments]


SHORT_LIVED = ("-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error")


# ---------------------------------------------------------------- processes


def dies_with_parent(command: list[str]) -> list[str]:
    """The command, killed by the kernel when the process that starts it ends, however it ends."""
    return ["setpriv", "--pdeathsig", "KILL", *command]


@dataclasses.dataclass(frozen=True)
class OwnProcess:
    """A process by its id and start time, so that an id used again by another process is not mistaken for it."""

    pid: int
    started: int

    @staticmethod
    def of(pid: int) -> OwnProcess | None:
        try:
            # The name in parentheses may hold anything; what follows the last one is regular.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else OwnProcess(pid, int(fields[19]))

    def running(self) -> bool:
        return OwnProcess.of(self.pid) == self

    def send(self, number: int) -> None:
        if self.running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, bound: float) -> bool:
        """Waits until it has ended, `bound` seconds at most; whether it has."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            if not self.running():
                return True
            poller = select.poll()
            poller.register(descriptor, select.POLLIN)
            return bool(poller.poll(bound * 1000))
        finally:
            os.close(descriptor)

    def end(self, bound: float) -> None:
        """SIGTERM, and after `bound` seconds SIGKILL."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        if not self.wait(bound):
            self.send(signal.SIGKILL)
            self.wait(bound)


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody uses, outside the range for outgoing connections.

    Inside that range a stopped node's port could be taken by anyone's outgoing connection before the node is back; a
    client that keeps trying the port could even connect to itself.
    """
    lowest_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    candidates = list(range(10000, lowest_outgoing)) if lowest_outgoing > 10100 else list(range(61000, 65535))
    random.SystemRandom().shuffle(candidates)
    found: list[int] = []
    for port in candidates:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise ClusterError("no free ports on 127.0.0.1")


# ---------------------------------------------------------------- asking a node in Kafka's protocol


def _request(address: tuple[str, int], api_key: int, version: int, body: bytes) -> bytes:
    client = b"kgroup-tests"
    header = struct.pack(">hhih", api_key, version, 1, len(client)) + client
    with socket.create_connection(address, timeout=2) as connection:
        connection.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
        size = struct.unpack(">i", _receive(connection, 4))[0]
        return _receive(connection, size)[4:]  # without the correlation id


def _receive(connection: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        piece = connection.recv(size - len(received))
        if not piece:
            raise ConnectionError("the node closed the connection")
        received += piece
    return bytes(received)


def _known_brokers(address: tuple[str, int]) -> int:
    """How many brokers the node knows (Metadata, version 1, of no topic)."""
    return struct.unpack(">i", _request(address, 3, 1, struct.pack(">i", 0))[:4])[0]


def _coordinator(address: tuple[str, int], group: str) -> int | None:
    """The node that coordinates the group (FindCoordinator, version 0); the first question makes the offsets topic."""
    name = group.encode()
    error, node = struct.unpack(">hi", _request(address, 10, 0, struct.pack(">h", len(name)) + name)[:6])
    return node if error == 0 else None


# ---------------------------------------------------------------- the cluster


@dataclasses.dataclass(frozen=True)
class Node:
    id: int
    port: int
    controller_port: int
    token_port: int = 0  # of a cluster that an older script has started


class Brokers:
    """A running Kafka and what a test wants to do to it. Thread-safe. `close()` ends the JVM behind it, not Kafka."""

    def __init__(self, addresses: str) -> None:
        self._addresses = addresses
        self._driver: _Driver | None = None
        self._driver_guard = threading.Lock()

    @property
    def addresses(self) -> str:
        """`HOST:PORT[,...]`, what Kafka calls bootstrap.servers."""
        return self._addresses

    @property
    def addresses_for_members(self) -> str:
        """What the members under test are told; the same, unless something stands in between."""
        return self.addresses

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        with self._driver_guard:
            driver, self._driver = self._driver, None
        if driver is not None:
            driver.close()

    def request(self, command: str, **arguments) -> Future:
        """One command of KafkaDriver.java; the result comes later. Commands run side by side."""
        with self._driver_guard:
            if self._driver is None:
                self._driver = _Driver(self.addresses)
            return self._driver.request(command, arguments)

    def _ask(self, command: str, bound: float = 60.0, **arguments):
        return self.request(command, **arguments).result(bound)

    def create_topic(self, name: str, partitions: int = 1, **configs: str) -> None:
        """Returns when every partition is served. Configuration names have `_` for `.`: `retention_ms="1"`."""
        self.create_topics({name: partitions}, **configs)

    def create_topics(self, partitions: dict[str, int], **configs: str) -> None:
        self._ask("create_topics", topics=partitions, configs={k.replace("_", "."): str(v) for k, v in configs.items()})

    def create_topic_on(self, name: str, replicas: list[list[int]], **configs: str) -> None:
        """The same with a partition on each list of nodes; the first of them leads it."""
        self._ask("create_topics", bound=120, topics={name: replicas},
                  configs={k.replace("_", "."): str(v) for k, v in configs.items()})

    def partitions(self, topic: str) -> list[PartitionRow]:
        return [PartitionRow(row["leader"], frozenset(row["in_step"])) for row in self._ask("partitions", topic=topic)]

    def move_leaders(self, topic: str, replicas: list[list[int]]) -> None:
        """Moves each partition to its list of nodes; returns when the first of them leads it."""
        self._ask("move_leaders", bound=120, topic=topic, replicas=replicas)

    def delete_topic(self, *names: str) -> None:
        """Returns when the cluster no longer knows the topics."""
        self._ask("delete_topics", topics=names)

    def add_partitions(self, topic: str, total: int) -> None:
        """Makes it `total` partitions; returns when every one is served."""
        self._ask("add_partitions", topic=topic, total=total)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Moves the start of the log to offset `before` (-1: the log's end)."""
        self._ask("delete_records", topic=topic, partition=partition, before=before)

    def log_ends(self, topic: str) -> dict[int, tuple[int, int]]:
        """Partition -> (first offset, next offset)."""
        return {row["partition"]: (row["first"], row["next"]) for row in self._ask("log_ends", topic=topic)}

    def describe_group(self, group: str) -> list[GroupRow]:
        """A row for each partition that the group has committed or a member owns, ordered by topic and partition."""
        return [GroupRow(**row) for row in self._ask("describe_group", group=group)]

    def group_state(self, group: str) -> str:
        """Stable, Empty, PreparingRebalance, CompletingRebalance, Assigning, Reconciling or Dead."""
        return self._ask("group_state", group=group)

    def committed(self, group: str) -> dict[tuple[str, int], int]:
        return {(row.topic, row.partition): row.committed for row in self.describe_group(group)
                if row.committed is not None}

    def alter_offset(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Sets the committed offset of a group without members."""
        self._ask("alter_offset", group=group, topic=topic, partition=partition, offset=offset)

    def delete_group(self, group: str) -> None:
        self._ask("delete_group", group=group)

    def alter_group(self, group: str, **configs: str) -> None:
        """Sets a group's own configuration, such as `consumer_session_timeout_ms="6000"`."""
        self._ask("alter_group", group=group, configs={k.replace("_", "."): str(v) for k, v in configs.items()})

    def start_producing(self, topic: str, count: int, *, first: int = 0, partition: int | None = None,
                        per_second: int = 0, bytes: int = 0, acks: str = "all") -> Future:
        """Produces `count` numbered records; the result is a `Produced`.

        The value of record n is its number in decimal, followed by a space and filling up to `bytes`; it has no key.
        It goes to partition n modulo the topic's number of partitions, or to `partition`. `per_second` 0 is as fast as
        it goes. Records are retried for two minutes; order in a partition is that of the numbers.
        """
        answer: Future = Future()

        def deliver(raw: Future) -> None:
            try:
                outcome = raw.result()
                answer.set_result(Produced(range(first, first + count), frozenset(outcome["failed"])))
            except BaseException as problem:
                answer.set_exception(problem)

        self.request("produce", topic=topic, first=first, count=count, partition=partition, per_second=per_second,
                     bytes=bytes, acks=acks).add_done_callback(deliver)
        return answer

    def produce(self, topic: str, count: int, *, bound: float = 120.0, **options) -> Produced:
        """The same, awaited; every record must have been acknowledged."""
        produced = self.start_producing(topic, count, **options).result(bound)
        if produced.failed:
            raise ClusterError(f"{len(produced.failed)} of {count} records were not acknowledged")
        return produced

    def run_tool(self, main: str, *arguments: str, bound: float = 60.0) -> str:
        """One of Kafka's own command line tools by the name of its class; its standard output."""
        command = java_command(main, "--bootstrap-server", self.addresses, *arguments, options=SHORT_LIVED)
        outcome = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=bound)
        if outcome.returncode != 0:
            raise ClusterError(f"{main} failed ({outcome.returncode}):\n{outcome.stdout}{outcome.stderr}")
        return outcome.stdout


@dataclasses.dataclass(frozen=True)
class PartitionRow:
    """Who leads a partition (-1: nobody), and which nodes have all of it."""

    leader: int
    in_step: frozenset[int]


@dataclasses.dataclass(frozen=True)
class GroupRow:
    """One line of a group's description; None is "unknown" (nothing committed, nobody owns it)."""

    topic: str
    partition: int
    committed: int | None
    log_end: int | None
    lag: int | None
    member_id: str | None
    client_id: str | None


@dataclasses.dataclass(frozen=True)
class Produced:
    """The numbers sent, and those among them which the cluster never acknowledged."""

    numbers: range
    failed: frozenset[int]

    def acknowledged(self) -> set[int]:
        return set(self.numbers) - self.failed


class _Driver:
    """The JVM that runs KafkaDriver.java: one JSON line a command in, one a result out, in any order."""

    def __init__(self, addresses: str) -> None:
        # Its standard input is a pipe of ours: when this process ends, in whatever way, it reads the end and goes.
        self._process = subprocess.Popen(
            java_command(str(HERE / "KafkaDriver.java"), addresses, options=SHORT_LIVED, heap="384m"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Future] = {}
        self._guard = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True, name="kafka-driver")
        self._reader.start()

    def request(self, command: str, arguments: dict) -> Future:
        answer: Future = Future()
        with self._guard:
            if self._process.poll() is not None:
                raise ClusterError("KafkaDriver has ended; its standard error says why")
            number = next(self._numbers)
            self._waiting[number] = answer
            self._process.stdin.write(json.dumps({"id": number, "command": command, **arguments}) + "\n")
            self._process.stdin.flush()
        return answer

    def _read(self) -> None:
        for line in self._process.stdout:
            reply = json.loads(line)
            with self._guard:
                answer = self._waiting.pop(reply["id"])
            if "error" in reply:
                answer.set_exception(ClusterError(reply["error"]))
            else:
                answer.set_result(reply.get("result"))
        with self._guard:
            abandoned, self._waiting = self._waiting, {}
        for answer in abandoned.values():
            answer.set_exception(ClusterError("KafkaDriver ended before it answered; its standard error says why"))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()


ZOOKEEPER = 0
"""In the place of a node's id: what brokers have for controllers that have none."""


class Cluster(Brokers):
    """Kafka on loopback, in a folder. With three nodes or more a topic has three copies, two of which must be in step.

    `directory` None is a folder that vanishes with the cluster. `outlives` leaves the nodes running when this process
    ends; otherwise the kernel ends them with it. Topics are never created by being asked for.
    """

    def __init__(self, directory: str | os.PathLike | None = None, *, nodes: int = 1, port: int = 0,
                 properties: dict[str, str] | None = None, heap: str = "512m", outlives: bool = False,
                 version: str = KAFKA_VERSION) -> None:
        super().__init__("")
        self._temporary = directory is None
        self._directory = Path(directory or tempfile.mkdtemp(prefix="kgroup-kafka-")).absolute()
        self._settings = {"nodes": nodes, "port": port, "properties": dict(properties or {}), "heap": heap,
                          "version": version}
        self._has_zookeeper = tuple(map(int, version.split(".")[:2])) < (3, 3)
        self._outlives = outlives
        self._children: dict[int, subprocess.Popen] = {}
        self._nodes: list[Node] = []
        self._found = self._settings
        self._load()

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    @property
    def addresses(self) -> str:
        return ",".join(f"127.0.0.1:{node.port}" for node in self._nodes)

    @property
    def nodes(self) -> list[int]:
        """The nodes' ids, from 1."""
        return [node.id for node in self._nodes]

    def start(self, *nodes: int, bound: float = 90.0) -> None:
        """Starts the nodes named (none: all) that do not run; returns when every running one serves topics and groups."""
        if self._found != self._settings:
            raise ClusterError(f"{self._directory} holds a cluster with other settings, {self._found}: "
                               "stop that one first")
        self._directory.mkdir(parents=True, exist_ok=True)
        if not self._nodes:
            self._format()
        if self._has_zookeeper and self._process(ZOOKEEPER) is None:
            self._launch_zookeeper(time.monotonic() + bound)
        for node in self._nodes:
            if node.id in (nodes or self.nodes) and self._process(node.id) is None:
                self._launch(node)
        expected = [node for node in self._nodes if node.id in (nodes or self.nodes) or self.running(node.id)]
        self._wait_until_serving(expected, time.monotonic() + bound)

    def stop(self, *nodes: int, keep_data: bool = False) -> None:
        """Ends nodes in order. Without names: all at once and with their data, except with `keep_data`."""
        if not nodes:
            self.close()
        leaving = [process for node in (nodes or self.nodes) if (process := self._process(node)) is not None]
        for process in leaving:
            process.send(signal.SIGCONT)
            process.send(signal.SIGTERM if nodes or keep_data else signal.SIGKILL)
        deadline = time.monotonic() + 20
        for process in leaving:
            if not process.wait(max(0.0, deadline - time.monotonic())):
                process.end(1)
        self._reap(nodes or self.nodes)
        if not nodes and (zookeeper := self._process(ZOOKEEPER)) is not None:
            zookeeper.end(10)
            self._reap([ZOOKEEPER])
        if nodes or keep_data:
            return
        if self._temporary:
            shutil.rmtree(self._directory, ignore_errors=True)
        else:
            self._state_file.unlink(missing_ok=True)
            for node in (ZOOKEEPER, *self.nodes):
                shutil.rmtree(self._folder(node) / "data", ignore_errors=True)
        self._nodes, self._found = [], self._settings

    def kill(self, node: int = 1) -> None:
        """kill -9."""
        process = self._process(node)
        if process is not None:
            process.send(signal.SIGKILL)
            process.wait(10)
        self._reap([node])

    def suspend(self, node: int = 1) -> None:
        """SIGSTOP: connections stay open, nothing is answered."""
        self._require(node).send(signal.SIGSTOP)

    def resume(self, node: int = 1) -> None:
        self._require(node).send(signal.SIGCONT)

    def fill_disk(self, node: int = 1) -> None:
        """No file of the node can grow any more, as on a full disk. The node's next start finds room."""
        _, most = resource.prlimit(pid := self._require(node).pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, most))

    def running(self, node: int = 1) -> bool:
        return self._process(node) is not None

    def coordinator(self, group: str) -> int:
        """The node that coordinates the group."""
        for node in self._nodes:
            if self.running(node.id) and (coordinator := _coordinator(("127.0.0.1", node.port), group)) is not None:
                return coordinator
        raise ClusterError(f"group {group} has no coordinator")

    # ---- inside

    @property
    def _state_file(self) -> Path:
        return self._directory / "cluster.json"

    def _folder(self, node: int) -> Path:
        return self._directory / ("zookeeper" if node == ZOOKEEPER else f"node-{node}")

    def _load(self) -> None:
        if not self._state_file.exists():
            return
        state = json.loads(self._state_file.read_text())
        self._nodes = [Node(**node) for node in state["nodes"]]
        self._found = state["settings"]

    def _format(self) -> None:
        count = self._settings["nodes"]
        ports = free_ports(3 * count)
        if self._settings["port"]:
            ports[0] = self._settings["port"]
        nodes = [Node(index + 1, *ports[3 * index:3 * index + 3]) for index in range(count)]
        cluster_id = _base64_uuid()
        formats = []
        for node in nodes:
            folder = self._folder(node.id)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            (folder / "server.properties").write_text(self._server_properties(node, nodes))
            if self._has_zookeeper:
                continue
            command = java_command("kafka.tools.StorageTool", "format", "-t", cluster_id,
                                   "-c", str(folder / "server.properties"), options=SHORT_LIVED,
                                   version=self._settings["version"])
            formats.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                            stderr=subprocess.STDOUT, text=True))
        for process in formats:
            output = process.communicate()[0]
            if process.returncode != 0:
                raise ClusterError(f"Kafka could not format its storage:\n{output}")
        if self._has_zookeeper:
            shutil.rmtree(self._folder(ZOOKEEPER), ignore_errors=True)
            self._folder(ZOOKEEPER).mkdir()
        # Written last: what is half formatted is formatted again.
        draft = self._state_file.with_suffix(".draft")
        draft.write_text(json.dumps({"nodes": [dataclasses.asdict(node) for node in nodes], "settings": self._settings}))
        draft.rename(self._state_file)
        self._nodes = nodes

    def _server_properties(self, node: Node, nodes: list[Node]) -> str:
        copies = min(3, len(nodes))
        properties = {
            "process.roles": "broker,controller",
            "node.id": node.id,
            "controller.quorum.voters": ",".join(f"{other.id}@127.0.0.1:{other.controller_port}" for other in nodes),
            "listeners": f"PLAINTEXT://127.0.0.1:{node.port},TOKENS://127.0.0.1:{node.token_port},"
                         f"CONTROLLER://127.0.0.1:{node.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{node.port},TOKENS://127.0.0.1:{node.token_port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,TOKENS:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            # Tokens that anybody can make, and no connection outlives three seconds without a new one.
            "listener.name.tokens.sasl.enabled.mechanisms": "OAUTHBEARER",
            "listener.name.tokens.oauthbearer.sasl.jaas.config":
                f'{OAUTH}.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";',
            "listener.name.tokens.oauthbearer.sasl.server.callback.handler.class":
                f"{OAUTH}.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler",
            "listener.name.tokens.oauthbearer.connections.max.reauth.ms": 3000,
            "log.dirs": self._folder(node.id) / "data",
            "num.network.threads": 2,
            "num.io.threads": 4,
            "auto.create.topics.enable": "false",
            "default.replication.factor": copies,
            "min.insync.replicas": min(2, copies),
            "offsets.topic.num.partitions": 3,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.num.partitions": 3,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": min(2, copies),
            "share.coordinator.state.topic.num.partitions": 3,
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": min(2, copies),
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            "group.consumer.min.session.timeout.ms": 1000,
            "group.consumer.min.heartbeat.interval.ms": 100,
            # A node that was killed comes back as another incarnation only when its old registration has run out.
            "broker.session.timeout.ms": 4000,
            "broker.heartbeat.interval.ms": 500,
            "log.segment.delete.delay.ms": 1000,
        }
        if self._has_zookeeper:
            for key in ("process.roles", "node.id", "controller.quorum.voters", "controller.listener.names"):
                del properties[key]
            properties["listeners"] = properties["listeners"].rpartition(",CONTROLLER:")[0]
            properties["listener.security.protocol.map"] = "PLAINTEXT:PLAINTEXT,TOKENS:SASL_PLAINTEXT"
            properties["broker.id"] = node.id
            properties["zookeeper.connect"] = f"127.0.0.1:{nodes[0].controller_port}"
            properties["zookeeper.session.timeout.ms"] = properties["broker.session.timeout.ms"]
        properties.update(self._settings["properties"])
        return "".join(f"{key}={value}\n" for key, value in properties.items())

    def _launch(self, node: Node) -> None:
        options = ("-XX:+ExitOnOutOfMemoryError", "-Dorg.slf4j.simpleLogger.showDateTime=true",
                   "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS")
        if not self._outlives:
            options += ("-XX:TieredStopAtLevel=1",)  # for a life of a minute: a third less work until it serves
        self._run(node.id, java_command("kafka.Kafka", str(self._folder(node.id) / "server.properties"),
                                        heap=self._settings["heap"], options=options, version=self._settings["version"]))

    def _launch_zookeeper(self, deadline: float) -> None:
        port = self._nodes[0].controller_port
        self._run(ZOOKEEPER, java_command("-Dzookeeper.admin.enableServer=false",
                                          "org.apache.zookeeper.server.ZooKeeperServerMain", str(port),
                                          str(self._folder(ZOOKEEPER) / "data"), version=self._settings["version"]))
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
                return
            process = self._process(ZOOKEEPER)
            if process is None or process.wait(0.05) or time.monotonic() > deadline:
                raise ClusterError(self._why(ZOOKEEPER))

    def _run(self, node: int, command: list[str]) -> None:
        folder = self._folder(node)
        with open(folder / "server.log", "ab") as log:
            child = subprocess.Popen(command if self._outlives else dies_with_parent(command), stdin=subprocess.DEVNULL,
                                     stdout=log, stderr=log, start_new_session=True)
        self._children[node] = child
        process = OwnProcess.of(child.pid)
        if process is not None:
            (folder / "pid").write_text(f"{process.pid} {process.started}\n")

    def _process(self, node: int) -> OwnProcess | None:
        try:
            pid, started = map(int, (self._folder(node) / "pid").read_text().split())
        except (OSError, ValueError):
            return None
        process = OwnProcess(pid, started)
        return process if process.running() else None

    def _require(self, node: int) -> OwnProcess:
        process = self._process(node)
        if process is None:
            raise ClusterError(f"node {node} does not run")
        return process

    def _reap(self, nodes) -> None:
        for node in nodes:
            child = self._children.pop(node, None)
            if child is not None:
                child.wait()
            (self._folder(node) / "pid").unlink(missing_ok=True)

    def _wait_until_serving(self, expected: list[Node], deadline: float) -> None:
        for node in expected:
            while not self._serves(node, len(expected)):
                process = self._process(node.id)
                # The pause between two questions is a wait for the process's end, which would be the answer.
                if process is None or process.wait(0.05):
                    raise ClusterError(self._why(node.id))
                if time.monotonic() > deadline:
                    raise ClusterError(f"node {node.id} does not answer in time\n{self._why(node.id)}")

    def _serves(self, node: Node, brokers: int) -> bool:
        address = ("127.0.0.1", node.port)
        try:
            return _known_brokers(address) >= brokers and _coordinator(address, "kgroup-tests") is not None
        except (OSError, struct.error):
            return False

    def _why(self, node: int) -> str:
        log = self._folder(node) / "server.log"
        tail = log.read_text(errors="replace").splitlines()[-40:] if log.exists() else []
        name = "ZooKeeper" if node == ZOOKEEPER else f"Kafka's node {node}"
        return f"{name} is not well; the end of {log}:\n" + "\n".join(tail)


def _base64_uuid() -> str:
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):  # would be read as an option
            return text


# ---------------------------------------------------------------- the command line


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", help="start a cluster and leave it running")
    start.add_argument("--dir", required=True, help="where it keeps settings, data, logs and process ids")
    start.add_argument("--port", type=int, default=0, help="of the first node; 0: any free one")
    start.add_argument("--nodes", type=int, default=1)
    start.add_argument("--property", action="append", default=[], metavar="K=V", help="of server.properties; repeatable")
    start.add_argument("--heap", default="512m", help="of each node's JVM")
    start.add_argument("--version", default=KAFKA_VERSION, help="of the brokers")
    stop = commands.add_parser("stop", help="stop what `start` left running")
    stop.add_argument("--dir", required=True)
    stop.add_argument("--keep-data", action="store_true", help="so that `start` goes on with it")
    commands.add_parser("jars", help="fetch Kafka's jars and print their folder")
    arguments = parser.parse_args()
    try:
        if arguments.command == "jars":
            print(jars())
        elif arguments.command == "stop":
            Cluster(arguments.dir).stop(keep_data=arguments.keep_data)
        else:
            properties = dict(pair.split("=", 1) for pair in arguments.property)
            cluster = Cluster(arguments.dir, nodes=arguments.nodes, port=arguments.port, properties=properties,
                              heap=arguments.heap, outlives=True, version=arguments.version)
            cluster.start()
            print(f"brokers={cluster.addresses}", flush=True)
    except ClusterError as problem:
        print(f"cluster.py: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
