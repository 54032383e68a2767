# SPDX-License-Identifier: MIT
"""The story of `sse_isolation` on a real Kafka: two groups, one topic, and neither moves the other."""

from __future__ import annotations

import subprocess
import unittest

import scenario
from verifiable import built_program

STORY = """\
GroupA marked M3, committed offset 3
GroupB marked M2, committed offset 2
GroupA resumes at M4
GroupB resumes at M3
{topic}[0] still holds M1 M2 M3 M4 M5
"""


class StoryTest(scenario.Scenario):
    def tell(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([built_program("sse_isolation"), "--brokers", self.kafka.addresses, *arguments],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90)

    def clear(self) -> None:
        """GroupA and GroupB are names that only this file uses; an earlier run on the same brokers may have left them."""
        for group in ("GroupA", "GroupB"):
            if self.kafka.group_state(group) != "Dead":
                self.kafka.delete_group(group)

    def test_the_story(self) -> None:
        self.clear()
        topic = self.unique("SSEMsgTopic")  # not there yet: the example makes it
        outcome = self.tell("--topic", topic)
        self.assertEqual(0, outcome.returncode, outcome.stdout + outcome.stderr)
        told = outcome.stdout.splitlines()
        for line in STORY.format(topic=topic).splitlines():
            self.assertEqual(1, told.count(line), f"{line!r} in:\n{outcome.stdout}")

        self.assertEqual({(topic, 0): (3, 5)}, self.rows("GroupA", topic))
        self.assertEqual({(topic, 0): (2, 5)}, self.rows("GroupB", topic))
        self.assertEqual("3", self.by_kafkas_own_tool("GroupA", topic))
        self.assertEqual("2", self.by_kafkas_own_tool("GroupB", topic))

        third = self.group(topic, "GroupC")
        third.start()
        third.wait_handled(5, 30)
        third.stop()
        self.assertEqual({f"M{n}": 1 for n in range(1, 6)}, dict(third.times_handled))
        self.assertEqual({(topic, 0): (3, 5)}, self.rows("GroupA", topic))

        ends = self.kafka.log_ends(topic)
        self.assertEqual(5, len(ends))
        again = self.tell("--topic", topic)
        self.assertEqual(1, again.returncode, again.stdout + again.stderr)
        self.assertIn("--topic NAME", again.stdout + again.stderr)
        self.assertEqual(ends, self.kafka.log_ends(topic), "the refused run has left something behind")
        self.assertEqual({(topic, 0): (3, 5)}, self.rows("GroupA", topic))

    def rows(self, group: str, topic: str) -> dict[tuple[str, int], tuple[int | None, int | None]]:
        """Committed offset and log end, for each partition with anything in it."""
        return {(row.topic, row.partition): (row.committed, row.log_end) for row in self.kafka.describe_group(group)
                if row.topic == topic and row.log_end}

    def by_kafkas_own_tool(self, group: str, topic: str) -> str:
        """The committed offset of partition 0 as kafka-consumer-groups prints it."""
        table = self.kafka.run_tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--describe",
                                    "--group", group)
        rows = [line.split() for line in table.splitlines() if line.startswith(group)]
        return next(row[3] for row in rows if row[1] == topic and row[2] == "0")


if __name__ == "__main__":
    unittest.main(verbosity=2)
