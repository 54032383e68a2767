# SPDX-License-Identifier: MIT
"""The arithmetic of benchmarks/run."""

import unittest

from harness.figures import OWN, Spread, ideal_rate, largest_gaps, matching, percentile, ratios, slope


def row(arm, allocator, round_number, rate, **more):
    return {"arm": arm, "allocator": allocator, "librdkafka": "none" if allocator == OWN else "installed",
            "round": round_number, "msgs_per_s": rate, **more}


def rate(line):
    return line.get("msgs_per_s")


KGROUP = ("kgroup", "glibc", "installed")
KGROUP_MIMALLOC = ("kgroup", "mimalloc", "installed")
SPLIT = ("bare-split", "glibc", "installed")
SARAMA = ("sarama", OWN, "none")


class Percentiles(unittest.TestCase):
    def test_is_the_smallest_value_that_covers_the_fraction(self):
        values = list(range(1, 101))
        self.assertEqual(percentile(values, 0.5), 50)
        self.assertEqual(percentile(values, 0.99), 99)
        self.assertEqual(percentile(values, 0.999), 100)
        self.assertEqual(percentile([7], 0.5), 7)

    def test_one_slow_record_in_a_thousand_shows_at_the_99_9th_only_beyond_it(self):
        self.assertEqual(percentile([1] * 999 + [500], 0.999), 1)
        self.assertEqual(percentile([1] * 998 + [500, 500], 0.999), 500)


class IdealRates(unittest.TestCase):
    def test_is_bound_by_what_is_in_flight(self):
        self.assertAlmostEqual(10_000, ideal_rate([1] * 1_000_000, wait=0.01, in_flight=100, window=20, ordered=True))
        self.assertAlmostEqual(10_000, ideal_rate([1_000_000], wait=0.01, in_flight=100, window=20, ordered=False))

    def test_by_key_is_bound_by_the_keys_that_have_more_than_there_is_time_for(self):
        # 10 in the window of the first, and all of the others
        self.assertAlmostEqual(15, ideal_rate([100, 2, 3], wait=0.1, in_flight=100, window=1, ordered=True))

    def test_when_all_is_done_before_the_window_ends_it_is_the_rate_until_then(self):
        self.assertAlmostEqual(8 / 0.5, ideal_rate([5, 3], wait=0.1, in_flight=100, window=20, ordered=True))
        self.assertAlmostEqual(8 / 0.4, ideal_rate([5, 3], wait=0.1, in_flight=2, window=20, ordered=False))
        self.assertAlmostEqual(8 / 0.1, ideal_rate([5, 3], wait=0.1, in_flight=100, window=20, ordered=False))


class Medians(unittest.TestCase):
    def test_spread_is_median_least_and_greatest(self):
        self.assertEqual(Spread.of([3, 1, 10]), Spread(3, 1, 10))
        self.assertEqual(Spread.of([4, 2]), Spread(3, 2, 4))

    def test_what_is_not_there_is_not_zero(self):
        self.assertEqual(Spread.of([None, 5]), Spread(5, 5, 5))
        self.assertIsNone(Spread.of([None]))


class Ratios(unittest.TestCase):
    def test_are_taken_inside_a_round(self):
        # The machine was twice as slow in the second round: the ratio of medians would say 2, each round says 1.25.
        rows = [row("kgroup", "glibc", 1, 500), row("bare-split", "glibc", 1, 400),
                row("kgroup", "glibc", 2, 250), row("bare-split", "glibc", 2, 200)]
        self.assertEqual(ratios(rows, KGROUP, SPLIT, rate), [1.25, 1.25])

    def test_a_round_that_lacks_one_of_both_does_not_count(self):
        rows = [row("kgroup", "glibc", 1, 500), row("bare-split", "glibc", 1, 400), row("kgroup", "glibc", 2, 900),
                row("kgroup", "glibc", 3, 900), row("bare-split", "glibc", 3, 1, error="lost a record")]
        self.assertEqual(ratios(rows, KGROUP, SPLIT, rate), [1.25])

    def test_allocators_are_kept_apart(self):
        rows = [row("kgroup", "glibc", 1, 500), row("kgroup", "mimalloc", 1, 800), row("bare-split", "glibc", 1, 400)]
        self.assertEqual(ratios(rows, KGROUP_MIMALLOC, SPLIT, rate), [2.0])
        self.assertEqual(matching("kgroup", SPLIT, [KGROUP, KGROUP_MIMALLOC]), [KGROUP])

    def test_an_arm_with_an_allocator_of_its_own_is_compared_with_both(self):
        self.assertEqual(matching("kgroup", SARAMA, [KGROUP, KGROUP_MIMALLOC, SPLIT]), [KGROUP, KGROUP_MIMALLOC])

    def test_libraries_are_kept_apart(self):
        newest = ("kgroup", "glibc", "newest")
        self.assertEqual(matching("kgroup", SPLIT, [KGROUP, newest]), [KGROUP])
        self.assertEqual(matching("kgroup", ("bare-split", "glibc", "newest"), [KGROUP, newest]), [newest])


class Gaps(unittest.TestCase):
    def test_only_what_overlaps_the_window_counts_and_order_does_not(self):
        receipts = {0: [50, 0, 10, 400, 60], 1: [0, 900, 1000]}
        self.assertEqual(largest_gaps(receipts, 55, 420), {0: 340, 1: 900})
        self.assertEqual(largest_gaps(receipts, 0, 20), {0: 40, 1: 900})
        self.assertEqual(largest_gaps({0: [5]}, 0, 10), {0: 0})


class Slopes(unittest.TestCase):
    def test_of_a_line(self):
        self.assertAlmostEqual(slope([(0, 10), (1, 12), (2, 14)]), 2)


if __name__ == "__main__":
    unittest.main()
