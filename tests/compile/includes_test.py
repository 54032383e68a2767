# SPDX-License-Identifier: MIT
"""Headers include only what stands below them."""

import re
import sys
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
# Each floor of detail/, and the floors that it may include. Public headers without a floor are values and the surface.
FLOORS = {
    "asio": set(),
    "config": set(),
    "events": {"asio"},
    "claim": {"asio", "events"},
    "client": {"asio", "events", "claim"},
    "group": {"asio", "events", "claim", "client", "config"},
    "process": {"asio", "events", "claim"},
    "rdkafka": {"asio", "events", "claim", "client", "config"},
    "produce": {"asio", "events", "client", "config", "process", "rdkafka"},
    "fetch": {"asio", "events", "claim", "client", "config", "rdkafka"},
    "metrics": {"events"},
    "opentelemetry": {"events"},
}


class Includes(unittest.TestCase):
    def test_no_floor_includes_a_higher_one(self):
        up = []
        for path in sorted((TOP / "include/kgroup/detail").rglob("*.[hi]pp")):
            floor = path.relative_to(TOP / "include/kgroup/detail").parts[0]
            for number, line in enumerate(path.read_text().splitlines(), 1):
                found = re.match(r"#include <kgroup/detail/(\w+)/", line)
                if found and found.group(1) not in FLOORS.get(floor, set()) | {floor}:
                    up.append(f"{path.relative_to(TOP)}:{number}: {line}")
        self.assertEqual([], up)

    def test_no_cycle_but_of_a_header_and_its_bodies(self):
        graph = {}
        for path in sorted((TOP / "include").rglob("*.[hi]pp")):
            name = path.relative_to(TOP / "include").as_posix()
            graph[name] = [found for found in re.findall(r"#include <(kgroup/[^>]+)>", path.read_text())
                           if not found.endswith(".ipp")]
        seen, cycles = {}, []

        def visit(name, way):
            if seen.get(name) == "open":
                cycles.append(" > ".join([*way[way.index(name):], name]))
            elif name not in seen:
                seen[name] = "open"
                for other in graph.get(name, []):
                    visit(other, [*way, name])
                seen[name] = "done"
        for name in graph:
            visit(name, [])
        self.assertEqual([], cycles)

    def test_compiled_separately_no_header_of_users_brings_librdkafkas(self):
        def included(name):
            lines, skipped = [], []
            for line in (TOP / "include" / name).read_text().splitlines():
                if condition := re.match(r"#if(n?)def KGROUP_SEPARATE_COMPILATION", line):
                    skipped.append(bool(condition.group(1)))
                elif line.startswith("#if"):
                    skipped.append(None)
                elif line.startswith("#else") and skipped[-1] is not None:
                    skipped[-1] = not skipped[-1]
                elif line.startswith("#endif"):
                    skipped.pop()
                elif not any(skipped):
                    lines.append(line)
            return re.findall(r"#include <([^>]+)>", "\n".join(lines))

        def way_to_librdkafka(name, seen):
            if name.startswith("librdkafka/"):
                return [name]
            if name in seen or not name.startswith("kgroup/"):
                return None
            seen.add(name)
            ways = (way_to_librdkafka(other, seen) for other in included(name))
            return next(([name, *way] for way in ways if way), None)

        # What is for the one file that compiles the rest, and a cluster of librdkafka's own.
        allowed = re.compile(r"src\.hpp$|^testing/embedded_cluster\.hpp$|^detail/")
        for path in sorted((TOP / "include/kgroup").rglob("*.hpp")):
            if not allowed.search(path.relative_to(TOP / "include/kgroup").as_posix()):
                with self.subTest(path.name):
                    self.assertIsNone(way_to_librdkafka(path.relative_to(TOP / "include").as_posix(), set()))


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
