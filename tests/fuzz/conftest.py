"""Mark all tests of this folder as `fuzz`: long runs over generated inputs."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Add the marker to the tests of this folder."""
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker("fuzz")
