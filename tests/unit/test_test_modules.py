"""Rules for the test modules themselves."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FILES = sorted(path for path in TESTS.rglob("*.py") if "devcloud" not in path.parts)


def imported_modules(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_no_module_imports_a_test_module(path: Path) -> None:
    """Shared code belongs into `tests.support`, fixtures into a conftest."""
    modules = imported_modules(ast.parse(path.read_text(encoding="utf-8")))
    parts = {part for name in modules if name.startswith("tests.") for part in name.split(".")}
    assert [part for part in parts if part.startswith("test_")] == []


def test_names_of_test_modules_are_unique() -> None:
    """A name such as `test_quotas` is enough to find a file."""
    names = [path.name for path in FILES if path.name.startswith("test_")]
    assert len(names) == len(set(names))
