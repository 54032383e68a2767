# SPDX-License-Identifier: MIT
"""Each public function has a comment. What it says stands in one order: parameters, return, completion signature, errors, cancellation, thread safety, lifetime."""

import re
import sys
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
HEADERS = TOP / "include/kgroup"
MODELS = {"testing/fake_client.hpp", "testing/fake_coordinator.hpp"}  # of a concept that documents their functions
PARTS = {"parameters": r"@param", "return": r"@return", "completion signature": r"Completion signature:",
         "errors": r"@throws|Errors:", "cancellation": r"\*?Cancellation\b", "thread safety": r"\*?Thread safety\b",
         "lifetime": r"\*?Lifetime\b"}
NO_FUNCTION = re.compile(r"\w+\(.*\) -> |friend |using |return |static_assert|extern template|(class|struct|enum|namespace|concept) |.*= (default|delete);$|~")
FUNCTION = re.compile(r"(?:.*[\s&*>])?(\w+)\(")
SAMPLE = """namespace kgroup {
namespace detail {
void hidden();
}
class sample {
public:
    /// @throws nothing.
    /// @return a number.
    template <typename F>
    requires (sizeof(F) != 0) int
    documented(F f, int second = 0) {
        return call(f);
    }
    sample(int first) : first_(first) {}
    sample(sample const&) = delete;
    /// Waits. Cancellation: total.
    void async_wait();
private:
    void own();
};
}
"""


class Function:
    def __init__(self, place, name, comment, owner):
        self.place, self.name, self.comment, self.owner = f"{place} {name}", name, comment, owner


def behind_brackets(text, opening, closing):
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == opening) - (letter == closing)
        if letter == closing and depth == 0:
            return text[place + 1:].lstrip(" .")
    return ""


def name_of_function(statement):
    """None: the statement declares something else."""
    while statement.startswith("template"):
        statement = behind_brackets(statement, "<", ">")
    if statement.startswith("requires"):
        statement = behind_brackets(statement, *("()" if re.match(r"requires ?\(", statement) else "<>"))
    head, bracket, _ = statement.partition("(")
    found = FUNCTION.match(head + bracket)
    if not found or NO_FUNCTION.match(statement) or "operator" in head or "=" in head:
        return None
    return found.group(1)


def functions(header, text):
    """Those that a namespace or a class declares in public."""
    scopes = []  # each: whether its declarations are public, and its comment
    comment, statement, begin = [], "", 0
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if line.startswith("///") and not statement:
            comment.append(line[3:].strip())
            continue
        code = re.sub(r"\s*//.*", "", re.sub(r'"(\\.|[^"\\])*"|\'(\\.|[^\'\\])\'', '""', line))
        if not code or code.startswith("#"):
            comment = comment if line.startswith(("//", "#")) else []
            continue
        if access := re.fullmatch(r"(public|private|protected):", code):
            scopes[-1] = access.group(1) == "public", scopes[-1][1]
            continue
        begin = begin or number
        statement = f"{statement} {code}".strip()
        if code[-1] not in ";{}":
            continue
        name = name_of_function(statement)
        if name and scopes and all(public for public, _ in scopes) and "For the library" not in " ".join(comment):
            yield Function(f"{header}:{begin}", name, "\n".join(comment), scopes[-1][1])
        kind = re.match(r"(?:template .*> )?(?:inline )?(namespace|class|struct) ?([\w:]*)", statement)
        for bracket in re.findall(r"[{}]", statement):
            if bracket == "}":
                scopes.pop()
            elif kind and not name:
                scopes.append((kind.group(1) != "class" and "detail" not in kind.group(2), "\n".join(comment)))
            else:
                scopes.append((False, ""))
        comment, statement, begin = [], "", 0


def public_functions():
    for path in sorted(HEADERS.rglob("*.hpp")):
        header = path.relative_to(HEADERS).as_posix()
        if not header.startswith("detail/") and header not in MODELS:
            yield from functions(header, path.read_text())


def without_comment(found):
    return [function.place for function in found if not function.comment]


def out_of_order(found):
    for function in found:
        said = {part: match.start() for part, pattern in PARTS.items() if (match := re.search(pattern, function.comment))}
        if list(said) != sorted(said, key=said.get):
            yield f"{function.place}: {', '.join(sorted(said, key=said.get))}"


def incomplete(found):
    """The overloads of an asynchronous function share what is said of them; a class says it for all of its own."""
    overloads = {}
    for function in found:
        if function.name.startswith("async_"):
            overloads.setdefault((function.place.split(":")[0], function.name), []).append(function)
    for those in overloads.values():
        text = "\n".join(function.comment for function in those) + "\n" + those[0].owner
        for part in ("completion signature", "errors", "cancellation", "thread safety"):
            if not re.search(PARTS[part].replace("Errors:", r"Errors:|\*Errors\b"), text):
                yield f"{those[0].place}: {part}"


class Documentation(unittest.TestCase):
    maxDiff = None

    def test_each_public_function_has_a_comment(self):
        self.assertEqual([], without_comment(public_functions()))

    def test_what_is_said_stands_in_one_order(self):
        self.assertEqual([], list(out_of_order(public_functions())))

    def test_asynchronous_functions_say_how_they_complete(self):
        self.assertEqual([], list(incomplete(public_functions())))

    def test_the_scan_sees_what_is_wrong(self):
        found = list(functions("sample.hpp", SAMPLE))
        self.assertEqual(["documented", "sample", "async_wait"], [function.name for function in found])
        self.assertEqual(["sample.hpp:14 sample"], without_comment(found))
        self.assertEqual(["sample.hpp:9 documented: errors, return"], list(out_of_order(found)))
        self.assertEqual([f"sample.hpp:17 async_wait: {part}" for part in ("completion signature", "errors", "thread safety")],
                         list(incomplete(found)))


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
