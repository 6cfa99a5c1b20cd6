"""Fixtures of the packaging tests: a Debian 12 with the wheels that vmapi needs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.debian import create_debian

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder as `packaging`."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("packaging")


@pytest.fixture(scope="session")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Install a Debian; the tests change it in memory only."""
    folder = tmp_path_factory.mktemp("debian")
    yield create_debian(folder)
    shutil.rmtree(folder, ignore_errors=True)
