# SPDX-License-Identifier: MIT
"""A member frozen for longer than its session: what it owned is lost, not revoked, and it learns that on waking."""

from __future__ import annotations

import threading
import unittest

import scenario

PARTITIONS = 4
SESSION_TIMEOUT_MS = 6000


class CommittedWatch:
    """Asks Kafka over and over, and notes each time that a committed offset of the group has gone backward."""

    def __init__(self, test: scenario.Scenario, group) -> None:
        self.steps_back: list[str] = []
        self._looks = 0
        self._looked = threading.Condition()
        self._group = group
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        test.addCleanup(self.end)

    def _watch(self) -> None:
        highest: dict[tuple[str, int], int] = {}
        while not self._done.wait(0.1):
            for place, offset in self._group.brokers.committed(self._group.name).items():
                if offset < highest.get(place, 0):
                    self.steps_back.append(f"{place}: {offset} after {highest[place]}")
                highest[place] = max(offset, highest.get(place, 0))
            with self._looked:
                self._looks += 1
                self._looked.notify_all()

    def has_looked(self, bound: float = 60) -> bool:
        """Waits for a look that begins from now on: what is committed now has been seen then."""
        with self._looked:
            wanted = self._looks + 2  # the next one may have begun
            return self._looked.wait_for(lambda: self._looks >= wanted, bound)

    def end(self) -> None:
        self._done.set()
        self._thread.join()


class SuspendedTest(scenario.Scenario):
    def test_lost_not_revoked(self) -> None:
        topic = self.topic(PARTITIONS)
        group = self.group(topic)
        settings = {"session_timeout_ms": SESSION_TIMEOUT_MS, "handler_delay_ms": (0, 1)}
        frozen = group.start(**settings)
        other = group.start(**settings)
        group.wait_shared(PARTITIONS, [frozen, other])
        load = scenario.Load(self.kafka, topic, per_second=2000)
        self.addCleanup(load.end)
        frozen.wait_for(lambda journal: journal.handled > 2000, 30, "busy")
        watch = CommittedWatch(self, group)
        self.assertTrue(watch.has_looked())

        frozen.suspend()
        lost = frozen.owned
        self.assertTrue(lost)
        other.wait_for(lambda journal: lost <= journal.first_handled.keys(), SESSION_TIMEOUT_MS / 1000 + 5,
                       "the other member goes on with the frozen one's partitions")
        other.wait_for(lambda journal: all(place in journal.owned and journal.owned[place].committed is not None
                                           for place in lost), 10, "and commits in them")
        with group.changed:
            started = {place: other.journal.owned[place].handled.lowest for place in lost}
        self.assertTrue(watch.has_looked())  # a commit of before the freeze would be a step back from here
        awake = frozen.resume()

        frozen.wait_for(lambda journal: any(at >= awake and lost <= set(places) for at, places in journal.revocations),
                        20, "the frozen member knows that it has lost them")
        frozen.wait_for(lambda journal: journal.assignments[-1][0] >= awake and journal.owned, 30, "it is a member again")
        group.wait_shared(PARTITIONS, [frozen, other])
        back = frozen.journal.handled
        frozen.wait_for(lambda journal: journal.handled > back + 500, 30, "it goes on")

        with group.changed:
            rejoined = next(at for at, _ in frozen.journal.assignments if at >= awake)
            # The answer to a commit from before the freeze is read after it; the other one started where it says.
            late = [commit for commit in frozen.journal.commits if awake <= commit.at < rejoined and commit.success
                    and any(offset > started[place] for place, offset in commit.offsets.items())]
            if not scenario.JAVA_MEMBER:
                self.assertGreater(frozen.journal.events["claims_lost"], 0)
                self.assertEqual(0, other.journal.events["claims_lost"])
        self.assertEqual([], late, "something was committed for what was lost")

        load.end()
        group.wait_handled(load.produced, 60)
        self.assertTrue(watch.has_looked())
        watch.end()
        self.assertEqual([], watch.steps_back)
        self.end_in_order(group, PARTITIONS, range(load.produced), duplicates=True)


if __name__ == "__main__":
    unittest.main(verbosity=2)
