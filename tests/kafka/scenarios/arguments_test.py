# SPDX-License-Identifier: MIT
"""The examples that take arguments: wrong ones are status 2 and a usage line. Needs no broker."""

from __future__ import annotations

import subprocess
import unittest

from verifiable import MemberFailed, built_program

WRONG = [
    ("minimal", "only one"),
    ("consumer_app",),
    ("by_hand", "only one"),
    ("from_sarama", "only one"),
    ("sse_isolation", "--no-such-option"),
    ("watch", "--group", "without brokers"),
    ("health_server", "sse_push.json", "no port"),
    ("health_server", "sse_push.json", "65536"),
    ("orders", "orders.json", "orders.db", "8080 "),
]


class ArgumentsTest(unittest.TestCase):
    def test_wrong_arguments(self) -> None:
        for name, *arguments in WRONG:
            with self.subTest(program=name, arguments=arguments):
                try:
                    program = built_program(name)
                except MemberFailed as reason:
                    self.skipTest(str(reason))
                outcome = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                         timeout=30)
                self.assertEqual(2, outcome.returncode, outcome.stderr)
                self.assertIn(f"usage: {name} ", outcome.stderr)


if __name__ == "__main__":
    unittest.main()
