"""A gunicorn with two workers and an engine worker, on a fake OpenStack in another process."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.engine_worker import EngineWorker
from tests.support.metrics import ServerWithMetrics
from tests.support.openstack_process import OpenStackProcess
from tests.support.processes import Gunicorn, ServerProcess, free_port


def build_settings(openstack: OpenStackProcess, folder: Path) -> dict[str, str]:
    return {
        **openstack.settings,
        "VMAPI_AUTH": "none",
        "VMAPI_ENGINE": "worker",
        "VMAPI_DATABASE_URL": f"sqlite:///{folder}/vmapi.sqlite3",
    }


def with_metrics(settings: dict[str, str], port: int) -> dict[str, str]:
    """Return the settings of two workers that serve metrics at a port."""
    return {**settings, "VMAPI_WORKERS": "2", "VMAPI_METRICS_BIND": f"127.0.0.1:{port}"}


@pytest.fixture(scope="module")
def openstack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenStackProcess]:
    """The cloud of all tests of a module; a test that kills it starts it again."""
    cloud = OpenStackProcess(tmp_path_factory.mktemp("openstack")).start()
    yield cloud
    cloud.stop()


@pytest.fixture(scope="module")
def shared_server(
    openstack: OpenStackProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerWithMetrics]:
    """A server for the tests that stop none of its processes."""
    folder, port = tmp_path_factory.mktemp("shared"), free_port()
    api = Gunicorn(folder, **with_metrics(build_settings(openstack, folder), port))
    api.start().wait_for("/readyz")
    yield ServerWithMetrics(api, port)
    api.stop()


@pytest.fixture
def common_settings(openstack: OpenStackProcess, tmp_path: Path) -> dict[str, str]:
    """The settings of the API and of the worker."""
    return build_settings(openstack, tmp_path)


@pytest.fixture
def metrics_port() -> int:
    return free_port()


@pytest.fixture
def api(
    gunicorn: Callable[..., Gunicorn], common_settings: dict[str, str], metrics_port: int
) -> Gunicorn:
    """A gunicorn with two workers that serves metrics."""
    server = gunicorn(**with_metrics(common_settings, metrics_port))
    server.start().wait_for("/readyz")
    return server


@pytest.fixture
def engine_worker(
    common_settings: dict[str, str], tmp_path: Path, servers: list[ServerProcess]
) -> EngineWorker:
    worker = EngineWorker(tmp_path, **common_settings)
    servers.append(worker)
    return worker.start()
