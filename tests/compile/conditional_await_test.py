# SPDX-License-Identifier: MIT
"""Nothing that README.md, docs/, examples/ and the headers show is written so that g++ 12 destroys it twice: a co_await inside `?:`, `&&` or
`||`, a bare `while (co_await …)`, or text in an aggregate that is written into an awaited call."""

import re
import sys
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
TOKEN = re.compile(r"""R"(?P<mark>[^(]*)\(.*?\)(?P=mark)"|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])+'|\w+|&&|\|\||->|==|[^\s\w]""", re.DOTALL)
CLOSING = {"(": ")", "[": "]", "{": "}"}


def tokens(code: str) -> list[str]:
    code = re.sub(r"//[^\n]*|/\*.*?\*/|^[ \t]*#[^\n]*", " ", code, flags=re.DOTALL | re.MULTILINE)
    return [found.group() for found in TOKEN.finditer(re.sub(r"(?<=\d)'(?=\d)", "", code))]


def enclosing(found: list[str], at: int) -> int:
    """Where the innermost bracket around `at` opens; -1: there is none."""
    depth = 0
    for i in range(at - 1, -1, -1):
        if found[i] in CLOSING.values():
            depth += 1
        elif found[i] in CLOSING:
            if depth == 0:
                return i
            depth -= 1
    return -1


def end_of(found: list[str], opening: int) -> int:
    """Where the bracket closes."""
    depth = 0
    for i in range(opening, len(found)):
        depth += (found[i] in CLOSING) - (found[i] in CLOSING.values())
        if depth == 0:
            return i
    return len(found)


def is_block(found: list[str], opening: int) -> bool:
    """Whether statements stand in the bracket, or could."""
    return found[opening] == "{" and (found[opening - 1] in (")", "else", "do", "try")
                                      or any(found[i] == ";" for i in range(opening, end_of(found, opening))))


def operators(found: list[str], at: int, end: int) -> list[str]:
    """Those of the expression around what stands from `at` to `end`, without what is in brackets of its own."""
    result = []
    i = at - 1
    while i >= 0 and found[i] not in {";", ",", *CLOSING}:
        if found[i] in CLOSING.values():
            i = enclosing(found, i)
            if is_block(found, i):
                break
        elif is_operator(found, i):
            result.append(found[i])
        i -= 1
    i = end + 1
    while i < len(found) and found[i] not in {";", ",", *CLOSING.values()}:
        if found[i] in CLOSING:
            if is_block(found, i):
                break
            i = end_of(found, i)
        elif is_operator(found, i):
            result.append(found[i])
        i += 1
    return result


def is_operator(found: list[str], at: int) -> bool:
    if found[at] in ("?", "||"):
        return True
    # not that of `auto&& name = …` and `for (auto&& name : …)`
    return found[at] == "&&" and found[at + 2:at + 3] not in (["="], [":"])


# What these are given are aggregates of views, which need no destructor (`outgoing_record`).
VIEWS = re.compile(r"\. async_(enqueue|send) \( \{ \.")


def flaw(found: list[str], at: int) -> str:
    """What is wrong with the co_await at `at`; empty: nothing."""
    if found[at - 2:at] == ["while", "("]:
        return "bare while"
    operand = re.match(r"[^;]*", " ".join(found[at:])).group()
    if re.search(r'\{ \. [^{}]*"', operand) and not VIEWS.search(operand):
        return "aggregate"
    first = last = at
    while first >= 0 and not is_block(found, first):
        if around := operators(found, first, last):
            return around[0]
        first = enclosing(found, first)
        last = end_of(found, first)
    return ""


def flaws(code: str) -> list[str]:
    found = tokens(code)
    return [flaw(found, i) + ": " + " ".join(found[max(0, i - 8):i + 12])
            for i, token in enumerate(found) if token == "co_await" and flaw(found, i)]


class ConditionalAwait(unittest.TestCase):
    def test_the_check_finds_what_it_is_for(self):
        for wrong in ["auto m = c ? co_await f() : g();", "auto m = c ? g() : h(co_await f());", "if (a && co_await f()) {}", "if (co_await f() || a) {}",
                      "x = a && (b + co_await f());", "co_return a || T{co_await f()};", "while (co_await f()) {}", "if (!co_await f() && a) {}",
                      'co_await f({.name = "x"});', 'co_await f(options{.n = 1, .name = "x"});', "g([] { co_return a ? co_await f() : b; });"]:
            with self.subTest(wrong):
                self.assertEqual(1, len(flaws("void f() { a && b; %s c || d; }" % wrong)))
        for right in ["auto&& m = co_await f();", "for (auto&& m : co_await f()) {}", "co_await (f() || g());", "co_await (a ? f() : g());",
                      "while (auto m = co_await f()) { a && b; }", "if (a && b) co_await f();", "f(a && b, co_await g());",
                      "if (auto m = co_await f(); m && a) {}", "a && [] { co_await f(); };", "x = a || b; co_await f(); y = a && b;",
                      "co_await f({.n = 1});", 'co_await out.async_send({.topic = "t"});', 'auto const s = "a ? b"; co_await f("&&"); // a && co_await b']:
            with self.subTest(right):
                self.assertEqual([], flaws("void f() { a && b; %s\n c || d; }" % right))

    def test_nothing_shown_is_written_so(self):
        awaits = 0
        shown = {path: path.read_text() for path in [*sorted((TOP / "examples").rglob("*.[ch]pp")), *sorted((TOP / "benchmarks" / "arms").glob("*.cpp")),
                                                     *sorted((TOP / "include").rglob("*.[hi]pp"))]}
        for page in [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]:
            shown[page] = "\n;\n".join(re.findall(r"^```cpp\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE))
        for header in sorted((TOP / "include").rglob("*.[hi]pp")):
            shown[f"comments of {header}"] = "\n".join(re.findall(r"^\s*///(     .*)$", header.read_text(), re.MULTILINE))
        for name, code in shown.items():
            awaits += code.count("co_await")
            with self.subTest(name):
                self.assertEqual([], flaws(code))
        self.assertGreater(awaits, 50)


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
