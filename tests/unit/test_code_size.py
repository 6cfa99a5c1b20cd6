"""The limits of the code base: lines of a function, and of a file."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("vmapi", "bench", "clients/python", "tests")
MAX_FUNCTION_LINES = 30
"""Lines from `def` to the end. The docstring does not count: it must not shorten the code."""

MAX_FILE_LINES = 300
FILES = sorted(
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    # a migration is a list of columns, and stays as it is after its release
    if "migrations" not in path.parts
)


def count_lines(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def find_statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements of a node, nested ones too; expressions are most of a tree."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield child
            yield from find_statements(child)


def count_function_lines(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in find_statements(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            has_docstring = ast.get_docstring(node) is not None
            docstring_lines = count_lines(node.body[0]) if has_docstring else 0
            yield node.name, count_lines(node) - docstring_lines


def find_long_parts(text: str) -> Iterator[str]:
    file_lines = len(text.splitlines())
    if file_lines > MAX_FILE_LINES:
        yield f"the file: {file_lines} lines"
    if file_lines > MAX_FUNCTION_LINES:
        for name, lines in count_function_lines(ast.parse(text)):
            if lines > MAX_FUNCTION_LINES:
                yield f"{name}: {lines} lines"


def test_files_and_functions_are_short() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in FILES}
    long_parts = {path: [*find_long_parts(text)] for path, text in texts.items()}
    assert {str(path.relative_to(ROOT)): parts for path, parts in long_parts.items() if parts} == {}


def test_long_files_and_functions_are_found() -> None:
    lines = ["        pass\n"] * 30
    nested = "".join(["try:\n", "    ok()\n", "except OSError:\n", "    def send():\n", *lines])
    assert [*find_long_parts(nested)] == ["send: 31 lines"]
    assert [*find_long_parts("pass\n" * 301)] == ["the file: 301 lines"]
    assert [*find_long_parts("def send():\n" + "    pass\n" * 29 + "pass\n" * 270)] == []


def test_docstring_does_not_count() -> None:
    text = 'def send():\n    """Send it.\n\n    Twice.\n    """\n    def wait():\n        pass\n'
    assert dict(count_function_lines(ast.parse(text))) == {"send": 3, "wait": 2}


def test_all_folders_have_files() -> None:
    folders = {path.relative_to(ROOT).parts[0] for path in FILES}
    assert folders == {folder.split("/")[0] for folder in FOLDERS}
