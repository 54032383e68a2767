# SPDX-License-Identifier: MIT
"""What README.md and docs/ show as C++ stands, but for line breaks, in a program that the tests compile, and JSON in an example's file."""

import re
import sys
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
PROGRAMS = [*sorted((TOP / "examples").glob("*.[ch]pp")), *sorted((TOP / "tests").rglob("*.cpp"))]


def words(text: str) -> str:
    """Without what depends on where lines are broken."""
    return "".join(text.replace("//", "").split())


class QuotedPrograms(unittest.TestCase):
    def test_every_block_stands_in_a_program(self):
        programs = {path: words(path.read_text()) for path in PROGRAMS}
        blocks = 0
        for page in [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]:
            for block in re.findall(r"^```cpp\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
                blocks += 1
                with self.subTest(page=page.name, block=block.splitlines()[0]):
                    self.assertTrue(any(words(block) in program for program in programs.values()),
                                    f"{page.name} shows C++ that no program of the tests or examples holds:\n{block}")
        self.assertGreater(blocks, 0)

    def test_json_is_an_examples_file(self):
        files = [words(path.read_text()) for path in sorted((TOP / "examples").glob("*.json"))]
        blocks = [block for page in [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
                  for block in re.findall(r"^```json\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)]
        self.assertNotEqual([], blocks)
        for block in blocks:
            self.assertIn(words(block), files)

    def test_the_readme_begins_with_a_whole_program(self):
        first = re.search(r"^```cpp\n(.*?)^```", (TOP / "README.md").read_text(), re.DOTALL | re.MULTILINE).group(1)
        whole = (TOP / "examples" / "minimal.cpp").read_text()
        self.assertEqual(words(first), words(whole[whole.index("#include"):]))

    def test_the_list_of_examples_names_each(self):
        listed = re.findall(r"^\d+\. \[\w+\]\((\w+\.cpp)\)", (TOP / "examples" / "README.md").read_text(), re.MULTILINE)
        self.assertEqual(sorted(path.name for path in (TOP / "examples").glob("*.cpp")), sorted(listed))


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
