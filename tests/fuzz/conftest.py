"""Marks everything in this folder as `fuzz`: long sweeps over generated inputs."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Add the marker."""
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker("fuzz")
