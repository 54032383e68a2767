# SPDX-License-Identifier: MIT
"""Adds up what ctest wrote in its lanes: tally.py FOLDER [FAILURE...]

FOLDER holds one LANE.xml (JUnit) for each lane; every FAILURE names something that failed outside of a test, and counts.
Prints what failed, what was skipped and why, a line for each lane, and last `N passed, N failed, N skipped`.
The status is 0 if something passed and nothing failed.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def outcome(case):
    """`passed`, `failed` or `skipped`, and for the last the reason that the test printed."""
    if case.get("status") == "run":
        return "passed", ""
    skipped = case.find("skipped")
    if skipped is not None and skipped.get("message", "").startswith("SKIP_"):
        reason = re.search(r"\[skipped\] *(.*)", case.findtext("system-out", ""))
        return "skipped", reason.group(1).strip() if reason else ""
    return "failed", ""


def main(folder, failures):
    total = {"passed": 0, "failed": len(failures), "skipped": 0}
    lanes = {}
    failed = list(failures)
    skipped = {}
    for file in sorted(Path(folder).glob("*.xml"), key=lambda file: file.stat().st_mtime):
        lane = lanes[file.stem] = {"passed": 0, "failed": 0, "skipped": 0}
        for case in ElementTree.parse(file).iter("testcase"):
            result, reason = outcome(case)
            lane[result] += 1
            total[result] += 1
            if result == "failed":
                failed.append(f"{file.stem}: {case.get('name')}")
            elif result == "skipped":
                skipped.setdefault(reason, []).append(f"{file.stem}: {case.get('name')}")

    for reason, names in skipped.items():
        print(f"skipped, {reason}:")
        for name in names:
            print(f"  {name}")
    if failed:
        print("failed:")
        for name in failed:
            print(f"  {name}")
    for name, lane in lanes.items():
        print(f"lane {name}: {lane['passed']} passed, {lane['failed']} failed, {lane['skipped']} skipped")
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return 0 if total["passed"] and not total["failed"] else 1


sys.exit(main(sys.argv[1], sys.argv[2:]))
