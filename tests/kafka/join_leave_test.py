"""A member joins and leaves, or dies, while the handlers of the others are busy with 300,000 numbered records."""

from __future__ import annotations

import unittest

import scenario
from verifiable import Group, Member

PARTITIONS = 6
RECORDS = 300_000
BUSY = (0, 1)
"""Milliseconds in the handler: 50,000 records one after the other in each partition, and an end within half a minute."""
BUSIER = (0, 5)
"""Of the member that comes and goes: what it gives back, it gives back in the middle of a longer handler."""
SESSION_TIMEOUT_MS = 6000
TAKEOVER_S = SESSION_TIMEOUT_MS / 1000 + 5


class JoinLeave:
    """The scenarios; a `Scenario` adds how the group divides its partitions."""

    division: dict[str, str]

    def backlog(self) -> Group:
        topic = self.topic(PARTITIONS)
        self.kafka.produce(topic, RECORDS)
        return self.group(topic)

    def start(self, group: Group, **settings) -> Member:
        return self.start_or_skip(group, session_timeout_ms=SESSION_TIMEOUT_MS, **self.division, **settings)

    def join_and_leave(self, mode: str) -> None:
        group = self.backlog()
        first = self.start(group, mode=mode, handler_delay_ms=BUSY)
        group.wait_handled(RECORDS // 10, 60)
        second = self.start(group, mode=mode, handler_delay_ms=BUSIER)
        group.wait_shared(PARTITIONS, [first, second])
        second.wait_for(lambda journal: journal.handled >= 3000, 30, "3000 records of its own")
        self.assertLess(len(group.times_handled), RECORDS, "the load was over before the member left")
        second.stop()
        group.wait_shared(PARTITIONS, [first])
        group.wait_handled(RECORDS, 120)
        self.end_in_order(group, PARTITIONS, range(RECORDS))

    def test_join_and_leave_with_marks(self) -> None:
        self.join_and_leave("mark")

    def test_join_and_leave_with_acks_out_of_order(self) -> None:
        self.join_and_leave("ack")

    def test_kill(self) -> None:
        group = self.backlog()
        survivor = self.start(group, handler_delay_ms=BUSY)
        victim = self.start(group, handler_delay_ms=BUSY)
        group.wait_shared(PARTITIONS, [survivor, victim])
        group.wait_handled(RECORDS // 5, 60)
        orphaned = victim.owned
        self.assertTrue(orphaned)
        killed = victim.kill()
        survivor.wait_for(lambda journal: orphaned <= journal.first_handled.keys(), 2 * TAKEOVER_S,
                          "records of the partitions of the dead")
        takeover = max(survivor.journal.first_handled[place] for place in orphaned) - killed
        self.assertLessEqual(takeover, TAKEOVER_S)
        group.wait_handled(RECORDS, 120)
        self.figures(f"taken over {takeover:.1f} s after the death")
        self.end_in_order(group, PARTITIONS, range(RECORDS), duplicates=True)


class EagerTest(JoinLeave, scenario.Scenario):
    """Every partition is given back at each rebalance."""

    division = {"assignor": "range"}


class CooperativeTest(JoinLeave, scenario.Scenario):
    """Only what moves is given back."""

    division = {"assignor": "cooperative-sticky"}


class ConsumerProtocolTest(JoinLeave, scenario.Scenario):
    """The broker divides the partitions (KIP-848), and only what moves is given back."""

    division = {"protocol": "consumer"}

    def group(self, *arguments) -> Group:
        group = super().group(*arguments)
        self.kafka.alter_group(group.name, consumer_session_timeout_ms=str(SESSION_TIMEOUT_MS),
                               consumer_heartbeat_interval_ms="500")
        return group


if __name__ == "__main__":
    unittest.main(verbosity=2)
