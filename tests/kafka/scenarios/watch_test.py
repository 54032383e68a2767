# SPDX-License-Identifier: MIT
"""The example watch: what it says of a group from outside, while it has members and when it has none."""

from __future__ import annotations

import json
import subprocess
import unittest

import scenario
from verifiable import JAVA, MemberFailed, built_program


class WatchTest(scenario.Scenario):
    def look(self, group: str, *more: str) -> str:
        try:
            program = built_program("watch")
        except MemberFailed as reason:
            self.skipTest(str(reason))
        return subprocess.run([program, "--brokers", self.kafka.addresses, "--group", group, "--once", *more],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout

    def test_members_assignment_offsets_and_lag(self) -> None:
        topic = self.topic(3)
        self.kafka.produce(topic, 900)
        group = self.group(topic)
        members = [group.start(), group.start()]
        group.wait_shared(3, members)
        group.wait_caught_up(3, 30)
        seen = json.loads(self.look(group.name, "--json"))
        self.assertEqual((group.name, "Stable", 0), (seen["group"], seen["state"], seen["lag"]))
        self.assertEqual([1, 2], sorted(member["partitions"] for member in seen["members"]))
        self.assertEqual([(topic, number) for number in range(3)],
                         [(row["topic"], row["partition"]) for row in seen["partitions"]])
        self.assertEqual(900, sum(row["committed"] for row in seen["partitions"]))
        owners = {(row.topic, row.partition): row.member_id for row in self.kafka.describe_group(group.name)}
        self.assertEqual(owners, {(row["topic"], row["partition"]): row["member"] for row in seen["partitions"]})
        group.stop()

        self.kafka.produce(topic, 300, first=900)  # nobody reads these
        seen = json.loads(self.look(group.name, "--json"))
        self.assertEqual(("Empty", [], 300), (seen["state"], seen["members"], seen["lag"]))
        self.assertEqual({""}, {row["member"] for row in seen["partitions"]})
        text = self.look(group.name)
        self.assertIn("0 members, 3 partitions, lag 300", text)
        self.assertIn("] 0 %, does not drain\n", text)
        self.assertIn(f"{topic}[2]", text)

    def test_a_group_of_the_new_protocol(self) -> None:
        topic = self.topic(3)
        self.kafka.produce(topic, 300)
        group = self.group(topic)
        members = [group.start(client=JAVA, protocol="consumer"), group.start(client=JAVA, protocol="consumer")]
        group.wait_shared(3, members)
        group.wait_caught_up(3, 30)
        seen = json.loads(self.look(group.name, "--json"))
        self.assertEqual(300, sum(row["committed"] for row in seen["partitions"]))
        text = self.look(group.name)
        if [int(part) for part in seen["librdkafka"].split(".")[:2]] >= [2, 10]:
            self.assertEqual(("Stable", ""), (seen["state"], seen["members_hidden"]))
            self.assertEqual([1, 2], sorted(member["partitions"] for member in seen["members"]))
            self.assertIn("2 members", text)
        else:  # it says that it cannot see them, and not that there are none
            self.assertEqual(("state not known", None), (seen["state"], seen["members"]))
            self.assertIn("members not known, 3 partitions, lag 0", text)
            self.assertIn("The members are not shown: its protocol is the new one (KIP-848)", text)
        group.stop()

    def test_a_group_that_does_not_exist(self) -> None:
        seen = json.loads(self.look(self.unique("nobody"), "--json"))
        self.assertEqual(([], [], 0), (seen["members"], seen["partitions"], seen["lag"]))


if __name__ == "__main__":
    unittest.main()
