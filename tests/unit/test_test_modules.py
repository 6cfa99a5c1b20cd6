"""Rules for the test modules themselves."""

import gc
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FILES = sorted(path for path in TESTS.rglob("*.py") if "devcloud" not in path.parts)

IMPORT_FROM_TESTS = re.compile(r"^ *(?:from|import) tests\b(?:.*\([^)]*\)|.*)", re.M)
"""An import statement, in which parentheses may enclose the names."""


def find_test_modules(text: str) -> list[str]:
    """Return the test modules that a text imports."""
    imports = " ".join(IMPORT_FROM_TESTS.findall(text))
    return re.findall(r"\btest_\w+", imports)


def test_no_module_imports_a_test_module() -> None:
    """Shared code belongs into `tests.support`, fixtures into a conftest."""
    imported = {path: find_test_modules(path.read_text(encoding="utf-8")) for path in FILES}
    assert {str(path.relative_to(TESTS)): names for path, names in imported.items() if names} == {}


@pytest.mark.parametrize(
    "text",
    [
        "from tests.unit.test_app import app",
        "from tests.unit import test_app",
        "    import tests.unit.test_app as app",
        "from tests.unit import (\n    factories,\n    test_app,\n)",
    ],
)
def test_import_of_a_test_module_is_found(text: str) -> None:
    assert find_test_modules(f"import ast\n{text}\ntest_other = 1\n") == ["test_app"]


def test_names_of_test_modules_are_unique() -> None:
    """A name such as `test_quotas` is enough to find a file."""
    names = [path.name for path in FILES if path.name.startswith("test_")]
    assert len(names) == len(set(names))


def test_garbage_collector_ignores_the_collected_tests(request: pytest.FixtureRequest) -> None:
    """A full collection traverses tracked objects only: thousands of tests slow down each one."""
    assert gc.isenabled()
    tracked_ids = {id(tracked) for tracked in gc.get_objects()}
    assert tracked_ids
    assert not tracked_ids & {id(item) for item in request.session.items}
