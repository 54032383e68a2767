# SPDX-License-Identifier: MIT
"""Members that fetch by themselves join, leave and are killed at random while records keep coming; in some groups others
fetch by librdkafka.

KGROUP_TEST_SECONDS is for how long each way of dividing the partitions is put to it, KGROUP_TEST_SEED where chance begins.
"""

from __future__ import annotations

import collections
import contextlib
import os
import random
import time
import types
import unittest

import scenario
from verifiable import Covered, Group, Member, Place, Tenure

PARTITIONS = 6
PER_SECOND = 2000
SESSION_TIMEOUT_MS = 6000
MOST_MEMBERS = 4
ROUND_S = 60
"""A round has a topic and a group of its own: what is wrong in one is found at its end."""
SECONDS = float(os.environ.get("KGROUP_TEST_SECONDS", "30"))
SEED = int(os.environ.get("KGROUP_TEST_SEED") or time.time())


def handled_again_in_order(group: Group, unfinished: set[str]) -> list[str]:
    """Where two members, or one twice, handled the same records, and none of them is `unfinished` (their names): those may
    have ended before they had committed what they had handled."""
    found = []
    handled: dict[Place, Covered] = collections.defaultdict(Covered)
    for member in group.members:
        if member.name in unfinished:
            continue
        for tenure in member.tenures:
            place = tenure.place
            found += [f"{place[0]}[{place[1]}]@{offset} by {member.name}" for first, end in tenure.handled.runs()
                      for offset in range(first, end) if not handled[place].add(offset)]
    return found


class Chaos:
    """The scenario; a `Scenario` adds how the group divides its partitions."""

    division: dict[str, str]

    def prepare(self, group: Group) -> None:
        """What the group itself is told."""

    def join(self, group: Group, chance: random.Random, direct: bool) -> Member:
        return self.start_or_skip(
            group, direct=direct, session_timeout_ms=SESSION_TIMEOUT_MS, handler_delay_ms=(0, 1),
            mode=chance.choice(("mark", "ack")), threads=chance.choice((1, 2)),
            properties={"buffer_bytes": chance.choice(("131072", "67108864"))}, **self.division)

    def one_round(self, seed: int, until: float, mixed: bool) -> collections.Counter[str]:
        chance = random.Random(seed)
        topic = self.topic(PARTITIONS)
        done: collections.Counter[str] = collections.Counter()
        killed: set[str] = set()
        with contextlib.closing(Group(self.kafka, topic, self.unique("group"))) as group:
            self.prepare(group)
            with self.load(topic, PER_SECOND) as load:
                members = [self.join(group, chance, direct=True), self.join(group, chance, direct=not mixed)]
                group.wait_shared(PARTITIONS, members)
                while time.monotonic() < until or not killed:
                    # What comes next comes into a rebalance, or after it.
                    if chance.random() < 0.4:
                        group.wait_shared(PARTITIONS, members)
                    group.wait_handled(len(group.times_handled) + chance.randrange(4 * PER_SECOND), 60)
                    step = chance.choice(("join", "leave", "kill"))
                    if step == "join" and len(members) < MOST_MEMBERS or len(members) == 1:
                        members.append(self.join(group, chance, direct=not mixed or chance.random() < 0.5))
                        done["joins"] += 1
                    elif step == "kill":
                        member = members.pop(chance.randrange(len(members)))
                        member.kill()
                        killed.add(member.name)
                        done["kills"] += 1
                    else:
                        members.pop(chance.randrange(len(members))).stop()
                        done["leaves"] += 1
            group.wait_handled(load.produced, 90)
            lost = {member.name for member in group.members if member.journal.events["claims_lost"]}
            self.end_in_order(group, PARTITIONS, range(load.produced), bound=60, duplicates=True)
            again = handled_again_in_order(group, killed | lost)
            self.assertEqual([], again[:20], f"{len(again)} records were handled again without a reason")
            if not lost:
                self.assertEqual([], group.owned_twice())
            done.update(rounds=1, records=load.produced, again=group.handled_again(), **{"lost claims": len(lost)})
        return done

    def rounds(self, mixed: bool) -> None:
        until = time.monotonic() + SECONDS
        total: collections.Counter[str] = collections.Counter()
        seed = SEED
        while time.monotonic() < until:
            print(f"[figures] seed {seed}", flush=True)
            total += self.one_round(seed, min(until, time.monotonic() + ROUND_S), mixed)
            seed += 1
        self.figures(", ".join(f"{count} {name}" for name, count in sorted(total.items())))

    def test_all_fetch_by_themselves(self) -> None:
        self.rounds(mixed=False)

    def test_some_fetch_by_librdkafka(self) -> None:
        self.rounds(mixed=True)


class RangeTest(Chaos, scenario.Scenario):
    division = {"assignor": "range"}


class CooperativeTest(Chaos, scenario.Scenario):
    division = {"assignor": "cooperative-sticky"}


class ConsumerProtocolTest(Chaos, scenario.Scenario):
    """The broker divides the partitions (KIP-848)."""

    division = {"protocol": "consumer"}

    def prepare(self, group: Group) -> None:
        self.kafka.alter_group(group.name, consumer_session_timeout_ms=str(SESSION_TIMEOUT_MS),
                               consumer_heartbeat_interval_ms="500")


class OracleTest(unittest.TestCase):
    """That records which were handled again without a reason are found."""

    def test_a_reason_is_a_member_that_did_not_end_in_order(self) -> None:
        group = Group(None, "t", "g")
        for name, offsets in ("a", (0, 1, 2)), ("b", (2, 3)), ("c", (4,)), ("d", (3, 5)):
            handled = Covered()
            for offset in offsets:
                handled.add(offset)
            group.members.append(types.SimpleNamespace(name=name, tenures=[Tenure(("t", 0), 1, 2, handled)]))
        self.assertEqual(["t[0]@2 by b", "t[0]@3 by d"], handled_again_in_order(group, set()))

        self.assertEqual([], handled_again_in_order(group, {"b"}))


if __name__ == "__main__":
    unittest.main(verbosity=2)
