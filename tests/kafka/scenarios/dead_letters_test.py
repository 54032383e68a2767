# SPDX-License-Identifier: MIT
"""A group that works with `for_each` and dead letters, while their broker is away, and while it is killed.

Its members are `processing_consumer`: it says of each record whether it is done or its letter is acknowledged.
KGROUP_TEST_OUTAGE_S makes the outage longer: 60, say.
"""

from __future__ import annotations

import collections
import json
import os
import signal
import subprocess
import threading
import time
import unittest
from collections.abc import Callable

import scenario
from cluster import Cluster, dies_with_parent
from verifiable import built_program

OUTAGE_S = float(os.environ.get("KGROUP_TEST_OUTAGE_S", 15))
PARTITIONS = 2


class Consumer:
    """One process, and what it has told."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(dies_with_parent([str(built_program(DeadLetters.program)), *arguments]),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.done: list[tuple[int, int]] = []
        self.letters: list[tuple[int, int]] = []
        self.events: collections.Counter[str] = collections.Counter()
        self.changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for raw in self.process.stdout:
            if not raw.endswith(b"\n"):
                break  # killed in the middle of a line
            line = json.loads(raw)
            with self.changed:
                if line["name"] == "event":
                    self.events[line["kind"]] += 1
                else:
                    told = self.done if line["name"] == "done" else self.letters
                    told.append((line["partition"], line["offset"]))
                self.changed.notify_all()

    def wait_for(self, condition: Callable[[], bool], bound: float, what: str) -> None:
        with self.changed:
            if not self.changed.wait_for(condition, bound):
                raise AssertionError(f"not within {bound} s: {what}; {len(self.done)} done, {len(self.letters)} letters, "
                                     f"events {dict(self.events)}, status {self.process.poll()}")

    def wait_ended(self, bound: float) -> int:
        status = self.process.wait(bound)
        self._reader.join()
        return status

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.wait_ended(30)

    def close(self) -> None:
        self.process.kill()
        self.wait_ended(10)
        self.process.stdout.close()


class DeadLetters(scenario.Scenario):
    program = "processing_consumer"

    def consumer(self, topic: str, group: str, letters: tuple[str, str], *more: str) -> Consumer:
        consumer = Consumer("--bootstrap-server", self.kafka.addresses, "--topic", topic, "--group-id", group,
                            "--letters-server", letters[0], "--letters-topic", letters[1], *more)
        self.addCleanup(consumer.close)
        return consumer

    def wait_committed(self, topic: str, group: str, bound: float) -> None:
        wanted = {(topic, partition): end for partition, (_, end) in self.kafka.log_ends(topic).items()}
        scenario.poll(lambda: self.kafka.committed(group) == wanted, bound,
                      lambda: f"{self.kafka.committed(group)} of {wanted} committed")


class LettersAwayTest(DeadLetters):
    PER_SECOND = 500
    POISON_EVERY = 1000

    def test_healthy_keys_go_on(self) -> None:
        cluster = Cluster()
        self.addCleanup(cluster.stop)
        cluster.start()
        topic, group, letters = self.topic(PARTITIONS), self.unique("group"), self.unique("letters")
        cluster.create_topic(letters, PARTITIONS)
        consumer = self.consumer(topic, group, (cluster.addresses, letters), "--poison-every", str(self.POISON_EVERY))
        load = scenario.Load(self.kafka, topic, self.PER_SECOND)
        self.addCleanup(load.end)
        consumer.wait_for(lambda: bool(consumer.letters), 30, "a first letter")

        before = self.share_done(consumer, load)
        cluster.close()
        cluster.stop(1, keep_data=True)
        away = self.share_done(consumer, load)
        sent = len(consumer.letters)
        consumer.wait_for(lambda: consumer.events["dead_letter_held"] > 0, 20, "a letter is held")
        self.assertEqual(sent, len(consumer.letters))
        self.assertEqual(0, consumer.events["dead_letter_sent"])
        cluster.start(1)
        consumer.wait_for(lambda: consumer.events["dead_letter_sent"] > 0, 90, "a letter is sent")
        load.end()
        poison = len(range(7, load.produced, self.POISON_EVERY))
        consumer.wait_for(lambda: len(set(consumer.letters)) == poison, 60, "all letters")
        self.wait_committed(topic, group, 30)
        self.assertEqual(0, consumer.stop())

        self.figures(f"done of what was produced in {OUTAGE_S} s: {before:.3f} before, {away:.3f} while the letters' broker was "
                     f"away, {poison} letters")
        self.assertGreater(away, 0.9)  # but for the one key in a hundred that waits, and what is under way
        self.assertEqual(load.produced - poison, len(set(consumer.done)))
        self.assertEqual(len(consumer.done), len(set(consumer.done)))
        self.assertEqual(poison, len(consumer.letters))
        self.assertEqual(poison, sum(end for _, end in cluster.log_ends(letters).values()))  # each once
        self.assertEqual(consumer.events["dead_letter_held"] > 0, consumer.events["dead_letter_sent"] > 0)
        for kind in ("claims_lost", "handler_failed", "handler_cancelled", "claim_stalled", "record_skipped"):
            self.assertEqual(0, consumer.events[kind], kind)

    def test_they_wait_while_the_disk_of_their_broker_is_full(self) -> None:
        cluster = Cluster()
        self.addCleanup(cluster.stop)
        cluster.start()
        topic, group, letters = self.topic(PARTITIONS), self.unique("group"), self.unique("letters")
        cluster.create_topic(letters, PARTITIONS)
        consumer = self.consumer(topic, group, (cluster.addresses, letters), "--poison-every", "100")
        self.kafka.produce(topic, 1000)
        consumer.wait_for(lambda: len(consumer.letters) == 10, 30, "the first letters")

        cluster.close()
        cluster.fill_disk()
        self.kafka.produce(topic, 1000, first=1000)
        consumer.wait_for(lambda: consumer.events["dead_letter_held"] > 0, 30, "a letter is held")
        self.assertFalse(cluster.running())  # a broker that cannot write gives up
        self.assertEqual(10, len(consumer.letters))
        cluster.stop(1, keep_data=True)
        cluster.start(1)
        consumer.wait_for(lambda: len(consumer.letters) == 20, 90, "all letters")
        self.wait_committed(topic, group, 30)
        self.assertEqual(0, consumer.stop())
        self.assertEqual(20, sum(end for _, end in cluster.log_ends(letters).values()))  # each once
        self.assertEqual(1980, len(consumer.done))
        for kind in ("claims_lost", "handler_failed", "delivery_failed", "record_skipped"):
            self.assertEqual(0, consumer.events[kind], kind)

    @staticmethod
    def share_done(consumer: Consumer, load: scenario.Load) -> float:
        """How much of what was produced meanwhile was done."""
        done, produced = len(consumer.done), load.produced
        time.sleep(OUTAGE_S)
        return (len(consumer.done) - done) / (load.produced - produced)


class KilledTest(DeadLetters):
    RECORDS = 2000

    def killed(self, step: str, most_letters: int) -> None:
        topic, group = self.topic(PARTITIONS), self.unique("group")
        letters = (self.kafka.addresses, self.topic(PARTITIONS, "letters"))
        self.kafka.produce(topic, self.RECORDS)
        arguments = (topic, group, letters, "--poison-every", str(self.RECORDS))  # there is one
        victim = self.consumer(*arguments, "--die-at", step)
        self.assertEqual(-signal.SIGKILL, victim.wait_ended(60))
        survivor = self.consumer(*arguments)
        self.wait_committed(topic, group, 60)
        self.assertEqual(0, survivor.stop())
        done = set(victim.done) | set(survivor.done)
        poison = (7 % PARTITIONS, 7 // PARTITIONS)
        self.assertEqual({(partition, offset) for partition in range(PARTITIONS)
                          for offset in range(self.RECORDS // PARTITIONS)} - {poison}, done)
        self.assertLessEqual(set(victim.letters) | set(survivor.letters), {poison})
        count = sum(end for _, end in self.kafka.log_ends(letters[1]).values())
        self.assertIn(count, range(1, most_letters + 1))
        self.figures(f"{count} letters, {len(victim.done) + len(survivor.done) - len(done)} records again")

    def test_failing(self) -> None:
        self.killed("failing", 1)

    def test_enqueuing(self) -> None:
        self.killed("enqueuing", 2)

    def test_acknowledging(self) -> None:
        self.killed("acknowledging", 2)

    def test_committing(self) -> None:
        self.killed("committing", 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
