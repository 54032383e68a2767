# SPDX-License-Identifier: MIT
"""What is known of a group's life from other clients' own tests: how partitions are divided, who waits, who comes back, who
is turned away. The behaviours are those of sarama's functional tests of a consumer group, and of franz-go's of hand-over,
pause and the order of commits; every way of dividing the partitions is put to all of them.
"""

from __future__ import annotations

import collections
import unittest

import scenario
from suspended_test import CommittedWatch
from verifiable import KGROUP, Group, Journal, Member, Place

SOON = {"topic.metadata.refresh.interval.ms": "1000", "topic.metadata.propagation.max.ms": "1000"}
"""How often members look for changes of their topics."""


class Behaviour:
    """The behaviours; a `Scenario` adds how the group divides its partitions."""

    division: dict[str, str]
    keeps_what_stays: bool
    """Whether a member gives back only what moves; then it goes on, and commits, while others rejoin."""
    idle_has_session = True
    """Whether a member hears of its assignment when that is empty."""

    def start(self, group: Group, **settings) -> Member:
        return self.start_or_skip(group, **self.division, **settings)

    def set_session_timeout(self, group: Group, milliseconds: int) -> None:
        """Where it is the group's own and not its members'."""

    def assert_untroubled(self, group: Group) -> None:
        # A commit may meet a rebalance: it is repeated, and in the end all are committed.
        expected = {"commit_failed"} if self.keeps_what_stays else set()
        troubles = [line for member in group.members for line in member.journal.event_lines
                    if line["level"] in ("warning", "error") and line["kind"] not in expected]
        self.assertEqual([], troubles)

    def owners(self, group: Group) -> dict[Place, str | None]:
        """By Kafka's account."""
        return {(row.topic, row.partition): row.member_id for row in self.kafka.describe_group(group.name)}

    def test_partitions_are_shared_and_taken_over(self) -> None:
        one, four = self.topic(1, "one"), self.topic(4, "four")
        self.kafka.produce(one, 100)
        self.kafka.produce(four, 400, first=100)
        group = self.group(four, others=[one])
        narrow = self.start(group, topics=(four,))
        group.wait_shared(4, [narrow])
        wide = self.start(group, topics=(one, four))
        group.wait_shared(5, [narrow, wide])

        def share(member: Member) -> collections.Counter[str]:
            return collections.Counter(topic for topic, _ in member.owned)

        def fair() -> bool:
            return min(len(narrow.owned), len(wide.owned)) == 2 and share(narrow).keys() == {four}

        group.wait_for(fair, 30, "2 and 3 partitions")
        if self.division.get("assignor") == "range":  # topic by topic
            with group.changed:
                self.assertEqual(({four: 2}, {four: 2, one: 1}), (share(narrow), share(wide)))
        narrow.stop()
        group.wait_shared(5, [wide])
        group.wait_handled(500, 30)
        self.assert_untroubled(group)
        self.end_in_order(group, 5, range(500))

    def test_a_member_too_many_waits_and_takes_over(self) -> None:
        topic = self.topic(4)
        group = self.group(topic)
        members = [self.start(group) for _ in range(5)]
        if self.idle_has_session:
            for member in members:
                member.wait_for(lambda journal: journal.events["session_started"], 30, "it is a member")

        def one_each() -> bool:
            return sorted(len(member.owned) for member in members) == [0, 1, 1, 1, 1]

        group.wait_for(one_each, 30, "four with a partition each, and one without")
        self.kafka.produce(topic, 400)
        group.wait_handled(400, 30)
        with group.changed:
            self.assertTrue(one_each())
            spare = next(member for member in members if not member.owned)
        self.assertEqual(0, spare.journal.handled)
        members.remove(spare)
        members.pop().stop()
        group.wait_shared(4, [*members, spare])
        self.kafka.produce(topic, 400, first=400)
        group.wait_handled(800, 30)
        self.assertEqual(100, spare.journal.handled)
        self.assert_untroubled(group)
        self.end_in_order(group, 4, range(800))

    def test_an_added_partition_goes_to_who_reads_its_topic(self) -> None:
        steady, growing = self.topic(1, "steady"), self.topic(1, "growing")
        group = self.group(steady, others=[growing])
        # The oldest of a classic group divides its partitions, and with librdkafka it sees only its own topics change.
        grows = self.start(group, topics=(growing,), properties=SOON)
        group.wait_shared(1, [grows])
        stays = self.start(group, topics=(steady,), properties=SOON)
        group.wait_shared(2, [stays, grows])
        with group.changed:
            revocations = len(stays.journal.revocations)
        self.kafka.add_partitions(growing, 2)
        group.wait_shared(3, [stays, grows])
        self.kafka.produce(steady, 100)
        self.kafka.produce(growing, 200, first=100)
        group.wait_handled(300, 30)
        with group.changed:
            self.assertEqual({(steady, 0)}, stays.owned)
            self.assertEqual({(growing, 0), (growing, 1)}, grows.owned)
            if self.keeps_what_stays:
                self.assertEqual(revocations, len(stays.journal.revocations))
        self.assert_untroubled(group)
        self.end_in_order(group, 3, range(300))

    def test_thirteen_members_handle_each_record_once(self) -> None:
        quotas_by_stage = {0: (500, 1000, 500, 70, 35), 1000: (100, 135, 170, 670), 2700: (335,), 3300: (335, 830),
                           4000: (320,)}
        self.assertEqual(5000, sum(map(sum, quotas_by_stage.values())))
        topic = self.topic(4)
        self.kafka.produce(topic, 5000)
        group = self.group(topic)
        for handled, quotas in quotas_by_stage.items():
            group.wait_for(lambda: len(group.times_handled) >= handled, 60, f"{handled} records handled")
            for quota in quotas:
                self.start(group, max_messages=quota, handler_delay_ms=(0, 4))
        group.wait_handled(5000, 60)
        for member in group.members:
            self.assertEqual(0, member.exit_status(30), member.last_words())
            self.assertEqual(member.settings.max_messages, member.journal.handled)
        self.assertEqual({str(number): 1 for number in range(5000)}, dict(group.times_handled))
        self.assertEqual({place: end for place, (_, end) in group.log_ends().items()}, self.kafka.committed(group.name))
        self.assertEqual([], group.violations())
        self.assertEqual([], group.owned_twice())
        self.assert_untroubled(group)
        self.figures(group.summary())

    def test_deleted_offsets_begin_again(self) -> None:
        kept, forgotten = self.topic(1, "kept"), self.topic(4, "forgotten")
        self.kafka.produce(kept, 10)
        self.kafka.produce(forgotten, 40, first=10)
        group = self.group(kept, others=[forgotten])
        self.start(group)
        group.wait_handled(50, 30)
        group.wait_caught_up(5, 30)
        group.stop()
        self.kafka.run_tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--group", group.name,
                            "--delete-offsets", "--topic", forgotten)
        self.assertEqual({(kept, 0): 10}, self.kafka.committed(group.name))
        self.start(group)
        group.wait_for(lambda: group.handled_again() >= 40, 30, "the records of the forgotten offsets again")
        self.end_in_order(group, 5, range(50), duplicates=True)
        self.assertEqual({str(number): 1 if number < 10 else 2 for number in range(50)}, dict(group.times_handled))

    def test_static_members_keep_their_places(self) -> None:
        topic = self.topic(4)
        group = self.group(topic)
        self.set_session_timeout(group, 20_000)
        members = [self.start(group, instance_id=name, session_timeout_ms=20_000) for name in ("first", "second")]
        group.wait_shared(4, members)
        self.kafka.produce(topic, 1000)
        group.wait_handled(1000, 30)
        group.wait_caught_up(4, 30)
        with group.changed:
            owners = {place: member.journal.member_id for member in members for place in member.owned}
        self.assertEqual(owners, self.owners(group))
        self.assertEqual(2, len(set(owners.values())))
        self.assert_untroubled(group)
        self.end_in_order(group, 4, range(1000))
        self.assertEqual(owners, self.owners(group))

    def test_a_static_member_comes_back_and_leaves_by_its_session(self) -> None:
        topic = self.topic(4)
        group = self.group(topic)
        self.set_session_timeout(group, 20_000)
        stays = self.start(group, instance_id="stays", session_timeout_ms=20_000)
        leaves = self.start(group, instance_id="leaves", session_timeout_ms=20_000)
        group.wait_shared(4, [stays, leaves])
        with group.changed:
            share, changes = leaves.owned, len(stays.journal.revocations) + len(stays.journal.assignments)
            generation = max(stays.journal.generation, leaves.journal.generation)
        owners = self.owners(group)
        leaves.stop()
        self.assertEqual(owners, self.owners(group))

        self.set_session_timeout(group, 3000)
        back = self.start(group, instance_id="leaves", session_timeout_ms=3000)
        self.kafka.produce(topic, 1000)
        group.wait_handled(1000, 30)
        with group.changed:
            self.assertEqual(share, back.owned)
            self.assertEqual(changes, len(stays.journal.revocations) + len(stays.journal.assignments))
            self.assertEqual(generation, back.journal.generation)
        group.wait_caught_up(4, 30)
        back.stop()
        group.wait_shared(4, [stays])
        with group.changed:
            if generation != -1:  # it is not known to members whose librdkafka does not tell
                self.assertGreater(stays.journal.generation, generation)
        self.kafka.produce(topic, 1000, first=1000)
        group.wait_handled(2000, 30)
        self.assert_untroubled(group)
        self.end_in_order(group, 4, range(2000))

    def test_of_two_static_members_with_one_name_one_is_turned_away(self) -> None:
        topic = self.topic(4)
        group = self.group(topic)
        other = self.start(group, instance_id="other", session_timeout_ms=20_000)
        older = self.start(group, instance_id="one", session_timeout_ms=20_000)
        group.wait_shared(4, [other, older])
        with group.changed:
            share, revocations = older.owned, len(other.journal.revocations)
        newer = self.start(group, instance_id="one", session_timeout_ms=20_000)
        kept, turned_away = self.kept_and_turned_away(older, newer)
        self.assertNotEqual(0, turned_away.exit_status(30))
        self.assertIn("instance", turned_away.last_words())
        kept.wait_for(lambda journal: share == kept.owned, 30, "it has the place")
        self.kafka.produce(topic, 1000)
        group.wait_handled(1000, 30)
        with group.changed:
            self.assertEqual(revocations, len(other.journal.revocations))
        self.assertEqual(0, group.handled_again())
        # A member that is fenced learns that by its next heartbeat: until then two think that they own the place.
        self.end_in_order(group, 4, range(1000), duplicates=True)

    def kept_and_turned_away(self, older: Member, newer: Member) -> tuple[Member, Member]:
        """The name goes to the newer one; the older one is fenced."""
        return newer, older

    def test_a_claim_that_takes_nothing_does_not_hold_up_the_others(self) -> None:
        partitions, each = 9, 50
        topic = self.topic(partitions)
        group = self.group(topic)
        full = {"buffer_bytes": str(partitions * 16384), "expected_partitions": str(partitions)}
        members = []
        for _ in range(4):  # claims begin one after the other
            members.append(self.start(group, handler_delay_ms=(0, 5), await_ms=(4000, 5), properties=full))
            group.wait_shared(partitions, members)
        self.kafka.produce(topic, partitions * each, bytes=10_000)  # far more than a member may hold

        def others_are_finished() -> bool:
            return (len(group.handled_offsets) == partitions
                    and sorted(handled.end for handled in group.handled_offsets.values()) == [5] * 4 + [each] * 5)

        group.wait_for(others_are_finished, 30, "all but the one claim of each member that waits at its sixth record")
        group.wait_handled(partitions * each, 30)
        self.end_in_order(group, partitions, range(partitions * each))

    def test_a_hand_over_moves_only_what_has_to_move(self) -> None:
        partitions = 6
        topic = self.topic(partitions)
        group = self.group(topic)
        with self.load(topic, 2000) as load:
            first = self.start(group, handler_delay_ms=(0, 1))
            first.wait_for(lambda journal: journal.first_handled.keys() == {(topic, p) for p in range(partitions)}, 30,
                           "it handles all")
            second = self.start(group, handler_delay_ms=(0, 1))
            group.wait_shared(partitions, [first, second])
            second.wait_for(lambda journal: journal.handled > 500, 30, "work of its own")
            with group.changed:
                moved = second.owned
            second.stop()
            group.wait_shared(partitions, [first])
        group.wait_handled(load.produced, 30)
        self.assertEqual(partitions / 2, len(moved))
        with group.changed:
            given_back = collections.Counter(tenure.place for tenure in first.journal.tenures)
        if self.keeps_what_stays:
            self.assertEqual(dict.fromkeys(moved, 1), given_back)
        else:
            self.assertEqual(partitions, len(given_back))
        self.end_in_order(group, partitions, range(load.produced))

    def test_who_leaves_during_a_rebalance_leaves_nothing_uncommitted(self) -> None:
        partitions, per_second = 6, 2000
        topic = self.topic(partitions)
        group = self.group(topic)
        with self.load(topic, per_second) as load:
            stays = self.start(group, handler_delay_ms=(0, 1))
            leaves = self.start(group, handler_delay_ms=(0, 1))
            # Members learn of the newcomer by their next heartbeat, up to half a second later; then the rebalance begins.
            for later in (0.2, 0.35, 0.5, 0.6, 0.7, 0.8):
                group.wait_shared(partitions, [stays, leaves])
                leaves.wait_for(lambda journal: journal.handled > 100, 30, "work of its own")
                joins = self.start(group, handler_delay_ms=(0, 1))
                group.wait_handled(len(group.times_handled) + int(later * per_second), 30)
                leaves.stop()
                leaves = joins
        group.wait_handled(load.produced, 30)
        self.assertEqual([], group.left_uncommitted(KGROUP))
        self.end_in_order(group, partitions, range(load.produced))

    def test_a_paused_partition_stands_still_and_the_other_goes_on(self) -> None:
        topic = self.topic(2)
        self.kafka.produce(topic, 4000)
        group = self.group(topic)
        member = self.start(group, handler_delay_ms=(0, 1), pause_ms=(2000, 100))
        member.wait_for(lambda journal: journal.paused, 30, "a partition is paused")
        with group.changed:
            handled, paused = member.journal.handled, set(member.journal.paused)
        member.wait_for(lambda journal: journal.handled >= handled + 500 or not journal.paused, 30, "the other goes on")
        with group.changed:
            self.assertEqual(paused, member.journal.paused, "the pause was over before the other partition had gone on")
        group.wait_handled(4000, 30)  # that no record of the paused one was handled meanwhile, the journal knows
        self.assertEqual(set(), member.journal.paused)
        self.end_in_order(group, 2, range(4000))

    def test_a_pause_ends_with_the_ownership(self) -> None:
        topic = self.topic(2)
        self.kafka.produce(topic, 2000)
        group = self.group(topic)
        first = self.start(group, pause_ms=(600_000, 100))
        first.wait_for(lambda journal: journal.paused, 30, "a partition is paused")
        first.wait_for(lambda journal: journal.handled == 1000 + 101, 30, "the other one is finished")
        second = self.start(group)
        group.wait_shared(2, [first, second])
        first.stop()
        group.wait_handled(2000, 30)
        self.end_in_order(group, 2, range(2000))

    def test_committed_offsets_never_step_back(self) -> None:
        partitions = 6
        topic = self.topic(partitions)
        group = self.group(topic)
        often = {"auto_commit_interval": "10"}
        with self.load(topic, 2000) as load:
            members = [self.start(group, threads=2, properties=often, handler_delay_ms=(0, 1)) for _ in range(2)]
            group.wait_shared(partitions, members)
            watch = CommittedWatch(self, group)
            for _ in range(2):
                passing = self.start(group, threads=2, properties=often, handler_delay_ms=(0, 1))
                group.wait_shared(partitions, [*members, passing])
                passing.wait_for(lambda journal: journal.handled > 300, 30, "work of its own")
                passing.stop()
                group.wait_shared(partitions, members)
        group.wait_handled(load.produced, 30)
        self.assertTrue(watch.has_looked(), "the watch ended before its time")
        watch.end()
        self.assertEqual([], watch.steps_back)
        self.end_in_order(group, partitions, range(load.produced))


class RangeTest(Behaviour, scenario.Scenario):
    """Every partition is given back at each rebalance."""

    division = {"assignor": "range"}
    keeps_what_stays = False


class CooperativeStickyTest(Behaviour, scenario.Scenario):
    division = {"assignor": "cooperative-sticky"}
    keeps_what_stays = True


class ConsumerProtocolTest(Behaviour, scenario.Scenario):
    """The broker divides the partitions (KIP-848)."""

    division = {"protocol": "consumer"}
    keeps_what_stays = True
    idle_has_session = False  # nothing has changed for it, librdkafka finds

    def group(self, *arguments, **options) -> Group:
        group = super().group(*arguments, **options)
        self.kafka.alter_group(group.name, consumer_heartbeat_interval_ms="200")
        return group

    def set_session_timeout(self, group: Group, milliseconds: int) -> None:
        self.kafka.alter_group(group.name, consumer_session_timeout_ms=str(milliseconds))

    def kept_and_turned_away(self, older: Member, newer: Member) -> tuple[Member, Member]:
        """The name is not free while the older one lives."""
        return older, newer


class PauseTest(unittest.TestCase):
    """That a record of a paused partition is found."""

    def test_a_record_between_pause_and_resumption(self) -> None:
        place = {"topic": "t", "partition": 0}
        life = [("partitions_assigned", {"partitions": [place]}), ("record_data", {**place, "offset": 0, "value": "0"}),
                ("partitions_paused", {"partitions": [place]}), ("partitions_resumed", {"partitions": [place]}),
                ("record_data", {**place, "offset": 1, "value": "1"})]

        def violations(lines) -> list[str]:
            journal = Journal()
            for name, fields in lines:
                journal.feed({"name": name, **fields})
            return journal.violations

        self.assertEqual([], violations(life))
        self.assertEqual(["t[0]@1 was handled, the partition is paused"], violations(life[:3] + life[4:]))


if __name__ == "__main__":
    unittest.main(verbosity=2)
