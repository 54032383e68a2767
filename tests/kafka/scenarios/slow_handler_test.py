# SPDX-License-Identifier: MIT
"""A handler that takes longer over one record than max.poll.interval.ms allows a member between two polls."""

from __future__ import annotations

import unittest

import scenario
from verifiable import Group, Journal, Member

SLOW_OFFSET = 300
SLOW_MS = 15_000
INTERVAL_MS = 6000
SLOW_PARTITION_RECORDS = 1000
OTHER_PARTITION_RECORDS = SLOW_OFFSET  # has no record of that offset
RECORDS = SLOW_PARTITION_RECORDS + OTHER_PARTITION_RECORDS


class SlowHandlerTest(scenario.Scenario):
    """Three groups at once, as each needs its quarter of a minute: one whose handler awaits, one whose handler blocks the
    only thread, and one whose handler blocks one thread of two."""

    def test_await_block_and_block_beside_a_free_thread(self) -> None:
        if scenario.JAVA_MEMBER:
            self.skipTest("Kafka's own member has no handler that could be slow")
        self.slow_topic = self.topic(2)
        self.kafka.produce(self.slow_topic, SLOW_PARTITION_RECORDS, partition=0)
        self.kafka.produce(self.slow_topic, OTHER_PARTITION_RECORDS, partition=1, first=SLOW_PARTITION_RECORDS)
        slow = (SLOW_MS, SLOW_OFFSET)
        awaiting = self.launch(await_ms=slow)
        blocking = self.launch(block_ms=slow)
        beside = self.launch(block_ms=slow, threads=2)
        for _, member in (awaiting, blocking, beside):
            member.wait_for(lambda journal: self.reached(journal, SLOW_OFFSET - 1), 30, "the record before the slow one")
        owners = {group: self.owners(group) for group, _ in (awaiting, beside)}
        others = SLOW_OFFSET + OTHER_PARTITION_RECORDS
        awaiting[1].wait_for(lambda journal: journal.handled == others, 10, "the other partition goes on meanwhile")
        beside[1].wait_for(lambda journal: journal.handled == others, 10, "the other partition goes on meanwhile")

        with self.subTest("awaiting keeps the membership"):
            self.keeps(*awaiting, owners[awaiting[0]])
        with self.subTest("blocking beside a free thread keeps it"):
            self.keeps(*beside, owners[beside[0]])
        with self.subTest("blocking the only thread loses it, and says so"):
            self.loses(*blocking)

    def launch(self, **settings) -> tuple[Group, Member]:
        group = self.group(self.slow_topic)
        return group, group.start(session_timeout_ms=INTERVAL_MS,
                                  properties={"max.poll.interval.ms": str(INTERVAL_MS)}, **settings)

    def reached(self, journal: Journal, offset: int) -> bool:
        """Whether the record at the offset of the slow partition is handled."""
        ownership = journal.owned.get((self.slow_topic, 0))
        return ownership is not None and ownership.last_record is not None and ownership.last_record >= offset

    def owners(self, group: Group) -> dict[int, str]:
        return {row.partition: row.member_id for row in self.kafka.describe_group(group.name)}

    def keeps(self, group: Group, member: Member, owners: dict[int, str]) -> None:
        member.wait_for(lambda journal: self.reached(journal, SLOW_OFFSET), SLOW_MS / 1000 + 15, "the slow record is handled")
        self.assertEqual({0, 1}, set(owners))
        self.assertEqual(owners, self.owners(group))
        with group.changed:
            # A classic group cannot change its generation without a member seeing an assignment.
            self.assertEqual(1, len(member.journal.assignments))
            self.assertEqual([], member.journal.revocations)
            self.assertEqual([], [commit for commit in member.journal.commits if not commit.success])
            for kind in ("claims_lost", "claims_revoked", "poll_interval_exceeded", "client_error", "handler_cancelled"):
                self.assertEqual(0, member.journal.events[kind], kind)
            self.assertEqual([], [line for line in member.journal.event_lines if line.get("level") == "error"])
        group.wait_handled(RECORDS, 30)
        self.end_in_order(group, 2, range(RECORDS))

    def loses(self, group: Group, member: Member) -> None:
        member.wait_for(lambda journal: journal.events["poll_interval_exceeded"] and journal.events["claims_lost"],
                        SLOW_MS / 1000 + 15, "it is told that it has lost the membership, and why")
        member.wait_for(lambda journal: len(journal.assignments) >= 2 and len(journal.owned) == 2, 30, "it comes back")
        group.wait_handled(RECORDS, 30)
        self.end_in_order(group, 2, range(RECORDS), duplicates=True)


if __name__ == "__main__":
    unittest.main(verbosity=2)
