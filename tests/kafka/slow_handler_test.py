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


class SlowHandlerTest(scenario.Scenario):
    def setUp(self) -> None:
        super().setUp()
        if scenario.JAVA_MEMBER:
            self.skipTest("Kafka's own member has no handler that could be slow")

    def run_member(self, **settings) -> tuple[Group, Member]:
        """A member at work on two partitions, at the moment when it reaches the slow record; and what was produced."""
        topic = self.topic(2)
        self.kafka.produce(topic, SLOW_PARTITION_RECORDS, partition=0)
        self.kafka.produce(topic, OTHER_PARTITION_RECORDS, partition=1, first=SLOW_PARTITION_RECORDS)
        group = self.group(topic)
        member = group.start(session_timeout_ms=INTERVAL_MS, properties={"max.poll.interval.ms": str(INTERVAL_MS)},
                             **settings)
        before = SLOW_OFFSET - 1
        member.wait_for(lambda journal: self.reached(journal, topic, before), 30, "the records before the slow one")
        return group, member

    @staticmethod
    def reached(journal: Journal, topic: str, offset: int) -> bool:
        """Whether the record at the offset of the slow partition is handled."""
        ownership = journal.owned.get((topic, 0))
        return ownership is not None and ownership.last_record is not None and ownership.last_record >= offset

    def wait_past_slow(self, group: Group, member: Member, bound: float) -> None:
        member.wait_for(lambda journal: self.reached(journal, group.topic, SLOW_OFFSET), bound,
                        "the slow record is handled")

    def assert_undisturbed(self, group: Group, member: Member, owner: dict[int, str]) -> None:
        """Nothing at all happened to the membership while the handler was slow."""
        self.assertEqual(owner, self.owners(group))
        with group.changed:
            self.assertEqual(1, len(member.journal.assignments))
            self.assertEqual([], member.journal.revocations)
            self.assertEqual([], [commit for commit in member.journal.commits if not commit.success])
            for kind in ("claims_lost", "claims_revoked", "poll_interval_exceeded", "client_error", "handler_cancelled"):
                self.assertEqual(0, member.journal.events[kind], kind)
            self.assertEqual([], [line for line in member.journal.event_lines if line.get("level") == "error"])

    def owners(self, group: Group) -> dict[int, str]:
        return {row.partition: row.member_id for row in self.kafka.describe_group(group.name)}

    def finish(self, group: Group, *, duplicates: bool = False) -> None:
        total = SLOW_PARTITION_RECORDS + OTHER_PARTITION_RECORDS
        group.wait_handled(total, SLOW_MS / 1000 + 30)
        self.end_in_order(group, 2, range(total), duplicates=duplicates)

    def test_awaiting_keeps_the_membership(self) -> None:
        group, member = self.run_member(await_ms=(SLOW_MS, SLOW_OFFSET))
        group.wait_shared(2, [member])
        owners = self.owners(group)
        others = SLOW_OFFSET + OTHER_PARTITION_RECORDS
        member.wait_for(lambda journal: journal.handled == others, 10, "the other partition goes on meanwhile")
        self.wait_past_slow(group, member, SLOW_MS / 1000 + 5)
        self.assert_undisturbed(group, member, owners)
        self.finish(group)

    def test_blocking_the_only_thread_loses_it_and_says_so(self) -> None:
        group, member = self.run_member(block_ms=(SLOW_MS, SLOW_OFFSET))
        member.wait_for(lambda journal: journal.events["claims_lost"] and journal.events["poll_interval_exceeded"],
                        SLOW_MS / 1000 + 10, "it is told that it has lost the membership, and why")
        member.wait_for(lambda journal: len(journal.assignments) >= 2 and len(journal.owned) == 2, 30, "it comes back")
        self.finish(group, duplicates=True)

    def test_blocking_beside_a_free_thread_keeps_it(self) -> None:
        group, member = self.run_member(block_ms=(SLOW_MS, SLOW_OFFSET), threads=2)
        group.wait_shared(2, [member])
        owners = self.owners(group)
        self.wait_past_slow(group, member, SLOW_MS / 1000 + 15)
        self.assert_undisturbed(group, member, owners)
        self.finish(group)


if __name__ == "__main__":
    unittest.main(verbosity=2)
