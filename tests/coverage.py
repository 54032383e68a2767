# SPDX-License-Identifier: MIT
"""Which lines and branches of a folder's files the tests have run: coverage.py BUILD_FOLDER SOURCE_FOLDER

Reads what programs compiled with `--coverage` have left in BUILD_FOLDER, by gcov. Prints the ten files of SOURCE_FOLDER that
are covered least, and last `coverage of SOURCE_FOLDER: N % of N lines, N % of N branches`.

A line, or a branch, that stands in several instances of a template or in several programs is covered when one of them runs it.
Branches to where exceptions are thrown are not counted: nearly every call has one.
"""

import collections
import json
import subprocess
import sys
from pathlib import Path


class Coverage:
    """What is known of a file: by line, and by line and branch, whether it was run."""

    def __init__(self):
        self.lines = {}
        self.branches = {}

    def add(self, line):
        number = line["line_number"]
        self.lines[number] = self.lines.get(number, False) or line["count"] > 0
        taken = [branch["count"] > 0 for branch in line["branches"] if not branch["throw"]]
        for index, was_taken in enumerate(taken if len(taken) > 1 else []):
            place = number, index
            self.branches[place] = self.branches.get(place, False) or was_taken


def share(places):
    return 100 * sum(places.values()) / max(len(places), 1)


def read(build_folder, source_folder):
    """The coverage of each file of the source folder that was compiled."""
    files = collections.defaultdict(Coverage)
    for counts in sorted(build_folder.rglob("*.gcda")):
        answer = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities", counts],
                                check=True, capture_output=True).stdout
        for document in answer.splitlines():
            report = json.loads(document)
            for file in report["files"]:
                path = (Path(report["current_working_directory"]) / file["file"]).resolve()
                if path.is_relative_to(source_folder):
                    for line in file["lines"]:
                        files[path.relative_to(source_folder)].add(line)
    return files


def main(build_folder, source_folder):
    files = read(build_folder, source_folder.resolve())
    if not files:
        sys.exit(f"{build_folder} holds no counts of files of {source_folder}")
    print("covered least:")
    print("   lines  branches")
    for path, file in sorted(files.items(), key=lambda item: share(item[1].lines))[:10]:
        print(f"{share(file.lines):6.1f} %  {share(file.branches):6.1f} %  {path}")
    lines = {(path, line): run for path, file in files.items() for line, run in file.lines.items()}
    branches = {(path, *branch): run for path, file in files.items() for branch, run in file.branches.items()}
    print(f"coverage of {source_folder}: {share(lines):.1f} % of {len(lines)} lines, "
          f"{share(branches):.1f} % of {len(branches)} branches")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
