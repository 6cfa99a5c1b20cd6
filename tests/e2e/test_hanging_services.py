"""A cloud that hangs in every service: requests that need no cloud are answered."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.fake_openstack import (
    DETAIL_PATH,
    NOVA_PATH,
    FakeOpenStack,
    Stall,
    serve_openstack,
)
from tests.support.http_client import HttpClient, wait_until
from tests.support.processes import Gunicorn

pytestmark = pytest.mark.disruption

CLOUD_PATHS = (
    DETAIL_PATH,
    f"{NOVA_PATH}/flavors/detail",
    "/image/v2/images",
    "/network/v2.0/networks",
)
PATHS = ("/vms", "/flavors", "/images", "/networks")
HANGING_REQUESTS = 60


@pytest.fixture
def cloud() -> Iterator[FakeOpenStack]:
    with serve_openstack() as cloud:
        for path in CLOUD_PATHS:
            cloud.reply_to("GET", path, Stall())
        yield cloud


@pytest.fixture
def server(gunicorn: Callable[..., Gunicorn], cloud: FakeOpenStack) -> Gunicorn:
    server = gunicorn(
        VMAPI_BACKEND="openstack",
        # longer than the client of the test waits
        VMAPI_BACKEND_TIMEOUT="300",
        VMAPI_WORKERS="1",
        VMAPI_AUTH="none",
        OS_AUTH_URL=f"{cloud.url}/identity/v3",
        OS_USERNAME="u",
        OS_PASSWORD="hunter2",
        OS_PROJECT_NAME="p",
    )
    server.start().wait_for("/livez")
    return server


def test_others_are_served_while_all_services_of_the_cloud_hang(
    server: Gunicorn, cloud: FakeOpenStack
) -> None:
    server.call.get_json("/api/v1/operations")
    client = HttpClient(server.port)

    def read(path: str) -> int:
        return client("GET", f"/api/v1{path}", headers={"Cache-Control": "no-cache"}).status

    with ThreadPoolExecutor(HANGING_REQUESTS) as pool:
        statuses = [pool.submit(read, PATHS[i % len(PATHS)]) for i in range(HANGING_REQUESTS)]
        wait_until(
            "a request to each service",
            lambda: all(cloud.count_requests("GET", path) for path in CLOUD_PATHS),
        )
        for _ in range(3):
            server.call.get_json("/api/v1/operations")
        assert not all(future.done() for future in statuses)
        cloud.closing.set()
        assert {future.result() for future in statuses} <= {502, 503, 504}
