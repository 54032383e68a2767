# SPDX-License-Identifier: MIT
"""The example orders as a process: what it books, what becomes a dead letter, what it keeps, and how it ends."""

from __future__ import annotations

import json
import queue
import re
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.request
from pathlib import Path

import scenario
from verifiable import MemberFailed, built_program


class Service:
    """The program, with the lines that it prints."""

    def __init__(self, folder: Path, **config) -> None:
        file = folder / "orders.json"
        file.write_text(json.dumps(config))
        self.database = folder / "orders.db"
        self._process = subprocess.Popen([built_program("orders"), file, self.database, "0"], stdin=subprocess.DEVNULL,
                                         stdout=subprocess.PIPE, text=True)
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.address = self._lines.get(timeout=30)

    def _read(self) -> None:
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))

    def lines(self, count: int, bound: float = 60) -> list[str]:
        end = time.monotonic() + bound
        return [self._lines.get(timeout=max(0.0, end - time.monotonic())) for _ in range(count)]

    def kept(self) -> int:
        with sqlite3.connect(self.database) as database:
            return database.execute("SELECT count(*) FROM records").fetchone()[0]

    def metrics(self) -> str:
        with urllib.request.urlopen(self.address + "/metrics", timeout=10) as answer:
            return answer.read().decode()

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(30)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()


class OrdersTest(scenario.Scenario):
    program = "orders"
    own_cluster: dict = {}  # the program knows its payments by the topic's name, which nobody else may use then

    @classmethod
    def setUpClass(cls) -> None:
        try:
            built_program(cls.program)
        except MemberFailed as reason:
            raise unittest.SkipTest(str(reason)) from None
        super().setUpClass()

    def test_it_books_orders_sends_dead_letters_keeps_payments_and_ends_in_order(self) -> None:
        orders, payments, group = self.topic(2, "orders"), "payments", self.unique("group")
        self.kafka.create_topic(orders + ".dlq", 2)
        self.kafka.create_topic(payments, 2)
        self.kafka.produce(orders, 100, bytes=20)  # "0 …" is no order: nobody wants no pieces
        self.kafka.produce(payments, 1000)
        service = Service(Path(self.enterContext(tempfile.TemporaryDirectory())), brokers_address=[self.kafka.addresses],
                          consumer_group_id=group, group_id_consistent=True, topics=[orders, payments],
                          consumer={"offset_initial": -2})
        self.addCleanup(service.close)
        booked = service.lines(99)
        self.assertEqual(set(range(1, 100)), {int(re.match(r": (\d+) ", line)[1]) for line in booked})

        scenario.poll(lambda: service.kept() == 1000, 30, lambda: f"{service.kept()} of 1000 payments kept")
        self.assertEqual(1000, service.kept())
        self.assertIn("kgroup_claim_dead_letters_total", service.metrics())
        self.assertEqual(0, service.stop())
        letters = self.kafka.log_ends(orders + ".dlq")
        self.assertEqual(1, sum(end for _, end in letters.values()))
        ends = {(topic, partition): end for topic in (orders, payments)
                for partition, (_, end) in self.kafka.log_ends(topic).items()}
        self.assertEqual(ends, self.kafka.committed(group))


if __name__ == "__main__":
    unittest.main()
