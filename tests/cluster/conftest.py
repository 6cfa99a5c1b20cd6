"""One cluster for the tests of a module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, run_cluster
from tests.support.live import postgresql, rabbitmq
from tests.support.processes import require_installed, require_program

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder as `cluster`."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("cluster")


@pytest.fixture(scope="session")
def cluster_programs() -> None:
    """Skip without the programs of a cluster."""
    require_program("haproxy", "haproxy")
    require_program("redis-server", "redis")
    require_installed("postgresql", is_installed=postgresql.find_programs() is not None)
    require_installed("rabbitmq", is_installed=rabbitmq.is_installed())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, cluster_programs: None) -> Iterator[Cluster]:
    """A cluster that serves; each test leaves it whole."""
    with run_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster
