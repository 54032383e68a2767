# SPDX-License-Identifier: MIT
"""Each kind of event that there is stands in docs/events.md."""

import re
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent


class EventsPageTest(unittest.TestCase):
    def test_every_kind_is_there(self) -> None:
        header = (TOP / "include/kgroup/event.hpp").read_text()
        kinds = re.findall(r"^    (\w+)[,\s]", header.partition("enum class event_kind {")[2].partition("};")[0], re.MULTILINE)
        page = (TOP / "docs/events.md").read_text()
        self.assertGreater(len(kinds), 40)
        self.assertEqual([], [kind for kind in kinds if f"`{kind}`" not in page])


if __name__ == "__main__":
    unittest.main()
