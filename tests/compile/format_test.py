# SPDX-License-Identifier: MIT
"""C++ and C are formatted as .clang-format says and are at most 100 columns wide, but for rows of tables and texts that cannot be broken; each file begins with its licence; names of cases are such that CTest can run them."""

import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
FOLDERS = ["include", "tests", "examples", "benchmarks"]
SOURCES = sorted(path for folder in FOLDERS for suffix in ("hpp", "ipp", "cpp", "h", "c")
                 for path in (TOP / folder).rglob(f"*.{suffix}") if "build" not in path.relative_to(TOP).parts)
WITH_LICENCE = re.compile(r"\.(cpp|hpp|ipp|c|h|py|go|java|rs|cmake|bash)$|(^|/)(CMakeLists\.txt|meson\.build|run)$")
VERSION = 14  # others format some of the code in another way
UNBREAKABLE = re.compile(r'^ *(/// \|.*|.*R"[a-z]*\(.*|[^"]*"[^ ]*"[,;)]*|#.*|// .*\S{60,}.*|.*\)".*|"[^"]*")$')


def lines_of_code(text):
    """Without what stands in raw strings."""
    return re.sub(r'R"(\w*)\((.*?)\)\1"', lambda raw: 'R""' + "\n" * raw.group(0).count("\n"), text, flags=re.DOTALL).splitlines()


class Format(unittest.TestCase):
    def test_clang_format_changes_nothing(self):
        tool = shutil.which(f"clang-format-{VERSION}") or shutil.which("clang-format")
        version = tool and re.search(r"version (\d+)", subprocess.run([tool, "--version"], capture_output=True, text=True).stdout)
        if not version or int(version.group(1)) != VERSION:
            print(f"[skipped] clang-format {VERSION} is not here")
            return
        told = subprocess.run([tool, "--dry-run", "--Werror", "--ferror-limit=1", *map(str, SOURCES)],
                              cwd=TOP, capture_output=True, text=True)
        self.assertEqual("", told.stderr, "run clang-format -i on these")

    def test_nothing_is_wider_than_100_columns(self):
        wide = [f"{path.relative_to(TOP)}:{number}: {line}" for path in SOURCES
                for number, line in enumerate(lines_of_code(path.read_text()), 1)
                if len(line) > 100 and not UNBREAKABLE.match(line)]
        self.assertEqual([], wide)

    def test_each_file_names_its_licence_in_its_first_three_lines(self):
        files = subprocess.run(["git", "ls-files"], cwd=TOP, capture_output=True, text=True)
        if files.returncode != 0:
            print("[skipped] this is no git repository, so nobody says which files are the project's")
            return
        missing = [name for name in files.stdout.splitlines() if WITH_LICENCE.search(name) and (TOP / name).exists()
                   and not any("SPDX-License-Identifier: MIT" in line for line in (TOP / name).read_text().splitlines()[:3])]
        self.assertEqual([], missing)

    def test_no_name_of_a_case_holds_a_semicolon(self):
        """CTest would cut it into two that find nothing."""
        name = re.compile(r'TEST_CASE\w*\((?:\s*\w+,)?((?:\s*"[^"]*")+)')
        cut = [f"{path.relative_to(TOP)}: {found}" for path in SOURCES for found in name.findall(path.read_text()) if ";" in found]
        self.assertEqual([], cut)


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
