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


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
