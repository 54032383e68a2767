# SPDX-License-Identifier: MIT
"""The checker itself: a life that is possible passes, and each kind of impossible one does not."""

from __future__ import annotations

import copy
import unittest

from verifiable import Covered, Group, Journal

T0 = ("t", 0)


def partitions(name: str, *numbers: int) -> dict:
    return {"timestamp": 1, "name": name, "partitions": [{"topic": "t", "partition": n} for n in numbers]}


def record(offset: int, partition: int = 0) -> dict:
    return {"timestamp": 1, "name": "record_data", "topic": "t", "partition": partition, "offset": offset, "key": None,
            "value": str(offset)}


def consumed(first: int, last: int, partition: int = 0) -> dict:
    count = last - first + 1
    return {"timestamp": 1, "name": "records_consumed", "count": count, "partitions": [
        {"topic": "t", "partition": partition, "count": count, "minOffset": first, "maxOffset": last}]}


def committed(offset: int, partition: int = 0, success: bool = True) -> dict:
    return {"timestamp": 1, "name": "offsets_committed", "success": success, "error": None,
            "offsets": [{"topic": "t", "partition": partition, "offset": offset}]}


GOOD = [
    {"timestamp": 1, "name": "startup_complete"},
    partitions("partitions_assigned", 0, 1),
    record(5), record(6), consumed(5, 6), committed(7),
    record(0, 1), consumed(0, 0, 1),
    record(7), record(8), consumed(7, 8), committed(8), committed(9),
    partitions("partitions_revoked", 1),
    record(9), consumed(9, 9), committed(10),
    partitions("partitions_revoked", 0),
    partitions("partitions_assigned", 1),
    record(0, 1), consumed(0, 0, 1), committed(1, 1),
    partitions("partitions_revoked", 1),
    {"timestamp": 1, "name": "shutdown_complete"},
]


def violations(lines: list[dict], **options) -> list[str]:
    journal = Journal(**options)
    for line in lines:
        journal.feed(line)
    return journal.violations


class JournalTest(unittest.TestCase):
    def doctored(self, index: int, *instead: dict) -> list[str]:
        """The good life with the line at `index` replaced."""
        lines = copy.deepcopy(GOOD)
        lines[index:index + 1] = instead
        return violations(lines)

    def assert_found(self, found: list[str], words: str) -> None:
        self.assertTrue(any(words in violation for violation in found), f"{words!r} is not among {found}")

    def test_a_possible_life_passes(self) -> None:
        self.assertEqual([], violations(GOOD))

    def test_record_without_the_partition(self) -> None:
        self.assert_found(self.doctored(14, record(1, 1)), "the partition is not owned")

    def test_records_consumed_without_the_partition(self) -> None:
        self.assert_found(self.doctored(15, consumed(9, 9), consumed(1, 1, 1)), "which is not owned")

    def test_gap(self) -> None:
        self.assert_found(self.doctored(8, record(8)), "was handled after 6")
        self.assert_found(self.doctored(10, consumed(8, 8)), "the position was 7")

    def test_step_back(self) -> None:
        self.assert_found(self.doctored(8, record(6)), "was handled twice in one assignment")
        self.assert_found(self.doctored(10, consumed(6, 8)), "consumed from 6")

    def test_count_that_does_not_add_up(self) -> None:
        line = consumed(7, 8)
        line["count"] = 3
        self.assert_found(self.doctored(10, line), "not the sum")
        line["partitions"][0]["count"] = 3
        self.assert_found(self.doctored(10, line), "3 records from 7 to 8")

    def test_commit_beyond_the_position(self) -> None:
        self.assert_found(self.doctored(11, committed(10)), "beyond the position 9")

    def test_commit_before_the_record_is_handled(self) -> None:
        lines = copy.deepcopy(GOOD)
        lines.insert(9, lines.pop(12))
        self.assert_found(violations(lines), "handled when 9 had been committed")

    def test_commit_over_a_record_not_handled(self) -> None:
        lines = [partitions("partitions_assigned", 0), record(1), record(3), consumed(0, 3), committed(4)]
        self.assert_found(violations(lines, ordered=False), "2 to 2 were not handled")

    def test_commit_of_nothing_handled(self) -> None:
        lines = [partitions("partitions_assigned", 0), consumed(0, 0), committed(1)]
        self.assert_found(violations(lines), "before everything below it was handled")

    def test_record_handled_after_its_commit(self) -> None:
        lines = [partitions("partitions_assigned", 0), record(1), consumed(0, 1), committed(2), record(0)]
        self.assert_found(violations(lines, ordered=False), "handled when 2 had been committed")

    def test_commit_that_steps_back(self) -> None:
        self.assert_found(self.doctored(12, committed(9), committed(8)), "committed after 9")

    def test_commit_without_the_partition(self) -> None:
        self.assert_found(self.doctored(16, committed(1, 1)), "was committed, the partition is not owned")
        self.assertEqual([], self.doctored(16, committed(10), committed(1, 1, success=False)))

    def test_assigned_twice_revoked_twice(self) -> None:
        self.assert_found(self.doctored(18, partitions("partitions_assigned", 1), partitions("partitions_assigned", 1)),
                          "assigned while it was owned")
        self.assert_found(self.doctored(13, partitions("partitions_revoked", 1), partitions("partitions_revoked", 1)),
                          "revoked and not owned")

    def test_records_shown_and_not_counted(self) -> None:
        self.assert_found(self.doctored(15), "4 records consumed, 5 shown")

    def test_life_after_death(self) -> None:
        self.assert_found(violations([*GOOD, partitions("partitions_assigned", 0)]), "after shutdown_complete")

    def test_out_of_order_only_where_it_is_said(self) -> None:
        lines = [partitions("partitions_assigned", 0), record(1), record(0), consumed(0, 1), committed(2)]
        self.assertEqual([], violations(lines, ordered=False))
        self.assert_found(violations(lines), "handled after 1")

    def test_a_jump_that_the_log_makes_is_allowed(self) -> None:
        lines = [partitions("partitions_assigned", 0), record(0), consumed(0, 0),
                 record(50), consumed(50, 50), committed(51)]
        self.assert_found(violations(lines), "was handled after 0")
        journal = Journal()
        journal.allow_jump(T0, 50)
        for line in lines:
            journal.feed(line)
        self.assertEqual([], journal.violations)

    def test_a_new_log_begins_again(self) -> None:
        lines = [partitions("partitions_assigned", 0), record(4), record(5), consumed(4, 5), committed(6),
                 record(0), record(1), consumed(0, 1), committed(2)]
        self.assert_found(violations(lines), "was handled after 5")
        journal = Journal()
        journal.allow_jump(T0, 0)
        for line in lines:
            journal.feed(line)
        self.assertEqual([], journal.violations)


class CoveredTest(unittest.TestCase):
    def test_runs_join(self) -> None:
        covered = Covered()
        self.assertFalse(covered)
        for offset in (5, 7, 3, 6, 4):
            self.assertTrue(covered.add(offset))
        self.assertFalse(covered.add(5))
        self.assertEqual((3, 8), (covered.lowest, covered.end))
        self.assertEqual([], covered.holes(3, 8))
        self.assertEqual([(0, 3), (8, 10)], covered.holes(0, 10))
        covered.add(12)
        self.assertEqual([(8, 12)], covered.holes(3, 13))


class FixedOffsets:
    """Stands in for Kafka: a log of ten records, and a group that has committed them all."""

    def log_ends(self, topic: str) -> dict[int, tuple[int, int]]:
        return {0: (0, 10)}

    def committed(self, group: str) -> dict[tuple[str, int], int]:
        return {T0: 10}


class GroupTest(unittest.TestCase):
    def test_the_oracle_finds_what_is_lost_repeated_and_committed_ahead(self) -> None:
        group = Group(FixedOffsets(), "t", "g")
        for offset in [0, 1, 2, 4, 5, 6, 7, 8, 9, 9]:
            group.count(record(offset))
        self.assertEqual(["3"], group.lost(range(10)))
        self.assertEqual(1, group.handled_again())
        self.assertEqual(["t[0]: committed 10, not handled [(3, 4)]"], group.ahead())
        group.count(record(3))
        self.assertEqual(([], []), (group.lost(range(10)), group.ahead()))


if __name__ == "__main__":
    unittest.main(verbosity=2)
