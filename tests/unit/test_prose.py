"""The words of code and documentation: terms of the field, no private dialect.

Checked are docstrings, comments, log messages and identifiers of `vmapi/`, `clients/`, `bench/`
and `tests/`, every other text of `vmapi/` and `clients/`, and the prose of the Markdown files.
A quotation stands in backticks.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = ("vmapi", "clients", "bench", "tests", "docs", "README.md", "CHANGELOG.md", "wsgi.py")
SKIPPED_FOLDERS = {"devcloud", "exchanges", "node_modules"}

AFTER_WHAT = (
    "is|was|has|are|were|it|they|he|one|comes|came|can|may|must|would|will|else|vmapi|the|a|an"
    "|others?|somebody|nobody|we"
)
REPLACEMENTS = {
    rf"what ({AFTER_WHAT})": "a noun: status, …",
    r"who|whoever|whose|(no|some|any)body": "the subject: client, caller, worker, driver",
    r"that which|(that )?is none|no more|but for": "a positive statement",
    r"(by|of|from|to) what": "a noun",
    r"heed(s|ed|ing)?": "honor, ignore",
    r"laid over": "apply the overlay",
    r"look(s|ed|ing)?[ _](at|again|for)|(a|one|this|each|first|later) look": "fetch, poll, search",
    r"(?-i:glance[sd]?)|sight(ing)?s?": "observation, snapshot",
    r"of (its|their|his|our|one's) own|by (itself|themselves|oneself)": "a separate one, alone",
    r"tells?|told": "report, return, record",
    r"kept": "saved, cached, retained",
    r"heard|lets? in": "received, authenticate",
    r"anew|by then": "again, until then",
    r"beside|aside": "next to, besides",
    r"under way": "in progress",
    r"taken? on": "accepted",
    r"sweeps?|swept": "full sync, resync",
    r"patience": "timeout",
    r"hast(e|y|ily)": "durable=False, short timeout",
    r"stumbled?": "fail",
    r"chores?": "periodic task",
    r"dut(y|ies)": "leader lease",
    r"doubles?(?! quot)": "duplicate",
    r"(is|are|was) over(?! the)|goes on": "finished, continues",
    r"(is|are|was|be) away": "unavailable, unreachable",
    r"seats?|shelf|desk|bell|verdict|strikes?|house(keeping)?|lent": "slot, cache, outcome, …",
    r"moments?|figures?": "time, number",
    r"seldom|thereby|in vain|made up|meanwhile": "rarely, so, without effect, invented",
}
"""Banned words, and the words to write instead."""

BANNED_IDENTIFIERS = {
    "told": "reported, message",
    "kept": "saved, stored",
    "heard": "received",
    "said": "message, value",
    "asked": "requested, calls",
    "wanted": "expected, requested",
    "given": "arguments, options",
    "mine": "leased, own",
    "who": "caller, identity",
    "whose": "project, owner",
    "nobody": "anonymous, unknown",
    "somebody": "caller",
    "look": "fetch, poll",
    "looks": "fetches, polls",
    "sweep": "full_sync",
    "sighting": "snapshot",
    "patience": "timeout",
    "haste": "timeout",
    "hasty": "durable",
    "chore": "task",
    "chores": "tasks",
    "duty": "lease",
    "duties": "leases",
    "doubles": "duplicates",
    "seat": "slot",
    "seats": "slots",
    "shelf": "cache",
    "bell": "notifier",
    "verdict": "outcome",
    "house": "maintenance",
    "desk": "harness",
    "anew": "again",
    "beside": "next",
    "aside": "background",
    "stumbled": "failed",
}
"""Banned parts of identifiers, and the parts to write instead."""

LOG_METHODS = {"debug", "info", "warning", "error", "critical", "exception"}
PATTERNS = {
    re.compile(rf"\b(?:{words})\b", re.IGNORECASE): advice for words, advice in REPLACEMENTS.items()
}
ANY_PATTERN = re.compile(rf"\b(?:{'|'.join(REPLACEMENTS)})\b", re.IGNORECASE)
IDENTIFIER_PATTERN = re.compile(rf"(?:^|_)({'|'.join(BANNED_IDENTIFIERS)})(?:_|$)", re.IGNORECASE)

Line = tuple[int, str]


def find_files(place: str) -> Iterator[Path]:
    root = ROOT / place
    paths = [root] if root.is_file() else sorted(root.rglob("*"))
    for path in paths:
        if path.suffix in (".py", ".md") and not SKIPPED_FOLDERS & set(path.parts):
            yield path


def split_lines(first: int, text: str) -> Iterator[Line]:
    """Number the lines of a text, without the quotations in backticks."""
    for number, line in enumerate(text.splitlines(), first):
        yield number, re.sub(r"`[^`]*`", "", line)


def read_markdown(text: str) -> Iterator[Line]:
    """Return the lines outside of code blocks."""
    in_code = False
    for number, line in split_lines(1, text):
        if re.match(r"\s*```", text.splitlines()[number - 1]):
            in_code = not in_code
        elif not in_code:
            yield number, line


def is_prose(node: ast.AST) -> bool:
    """Return whether a node is a docstring, or the docstring of an attribute."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def is_log_call(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in LOG_METHODS
    )


def read_texts(tree: ast.Module, *, every_text: bool) -> Iterator[Line]:
    """Return the lines of docstrings and log messages, or of every text."""
    for node in ast.walk(tree):
        if every_text or is_prose(node) or is_log_call(node):
            constants = [node] if every_text else ast.iter_child_nodes(node)
            for constant in constants:
                if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
                    yield from split_lines(constant.lineno, constant.value)


def read_comments(text: str) -> Iterator[Line]:
    # the tokenizer is slow: only a text with a banned word after a # needs it
    if any(ANY_PATTERN.search(line.partition("#")[2]) for line in text.splitlines()):
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                yield from split_lines(token.start[0], token.string)


def read_identifiers(text: str) -> Iterator[Line]:
    if any(map(IDENTIFIER_PATTERN.search, set(re.findall(r"\w+", text)))):
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NAME:
                yield token.start[0], token.string


def find_banned_words(lines: Iterator[Line]) -> Iterator[str]:
    for number, line in lines:
        for pattern, advice in PATTERNS.items() if ANY_PATTERN.search(line) else ():
            if match := pattern.search(line):
                yield f"{number}: '{match[0]}': write {advice}"


def find_banned_identifiers(text: str) -> Iterator[str]:
    # the decorator of hypothesis
    allowed = {"given"} if "from hypothesis import" in text else set()
    for number, name in read_identifiers(text):
        match = IDENTIFIER_PATTERN.search(name)
        if match and name not in allowed:
            yield f"{number}: '{name}': name it {BANNED_IDENTIFIERS[match[1].lower()]}"


def check_file(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        yield from find_banned_words(read_markdown(text))
        return
    every_text = path.relative_to(ROOT).parts[0] in ("vmapi", "clients")
    yield from find_banned_words(read_texts(ast.parse(text), every_text=every_text))
    yield from find_banned_words(read_comments(text))
    yield from find_banned_identifiers(text)


@pytest.mark.parametrize("place", PLACES)
def test_words_are_terms_of_the_field(place: str) -> None:
    violations = {
        f"{path.relative_to(ROOT)}:{problem}"
        for path in find_files(place)
        for problem in check_file(path)
    }
    assert not violations, "\n".join(["", *sorted(violations)])


def test_banned_words_are_found_and_quotations_are_not() -> None:
    problems = list(
        find_banned_words(read_markdown("It was told.\n`It was told.`\n```\ntold\n```\n"))
    )
    assert problems == ["1: 'told': write report, return, record"]
    assert list(find_banned_identifiers("kept_rows = hypothesis")) == [
        "1: 'kept_rows': name it saved, stored"
    ]
