# SPDX-License-Identifier: MIT
"""Prints the name of each Python unittest case in the *_test.py files of a folder, one a line.

The folder comes first; those behind it hold modules that its files import. A file that cannot be imported is printed by
its own name, so that running it shows the reason.
"""

import sys
import unittest


def names(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from names(item)
        else:
            yield item.id().removeprefix("unittest.loader._FailedTest.")


sys.path[:0] = sys.argv[2:]
for name in names(unittest.defaultTestLoader.discover(sys.argv[1], "*_test.py")):
    print(name)
