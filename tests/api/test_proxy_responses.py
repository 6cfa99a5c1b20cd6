"""Responses of a proxy in front of Nova: no VM is deleted, and no change is made twice."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from tests.support.api_harness import CREATE_BODY, ApiHarness
from tests.support.fake_openstack import (
    DETAIL_PATH,
    NOVA_PATH,
    REQUEST_ID,
    SERVER_ID,
    SERVER_NOT_FOUND,
    SERVER_PATH,
    FakeOpenStack,
    Reply,
    openstack_settings,
    serve_openstack,
)
from tests.support.remote_cloud import NO_CACHE, age_inventory, sync_inventory
from vmapi.backends.circuit_breaker import FAILURE_THRESHOLD
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.settings.settings import Settings

SERVERS_PATH = f"{NOVA_PATH}/servers"
SERVER = {
    "id": SERVER_ID,
    "name": "web-1",
    "status": "ACTIVE",
    "created": "2026-01-01T00:00:00Z",
    "metadata": {},
}
FLAVOR = {
    "id": "1",
    "name": "m1.tiny",
    "vcpus": 1,
    "ram": 512,
    "disk": 1,
    "os-flavor-access:is_public": True,
}
IMAGE = {"id": "22222222-2222-4333-8444-555555555555", "name": "cirros", "status": "active"}
NETWORK = {"id": "33333333-2222-4333-8444-555555555555", "name": "private"}
KEY = {"Idempotency-Key": "key-1"}
PLAIN = {"Content-Type": "text/plain"}
FRONTS_404 = {
    "text": Reply(404, "no Route matched", PLAIN),
    "html": Reply(404, "<html>404 Not Found</html>", {"Content-Type": "text/html"}),
    "empty": Reply(404),
    "json": Reply(404, {"message": f"Instance {SERVER_ID} could not be found."}, is_marked=False),
    "unmarked": Reply(404, SERVER_NOT_FOUND.body, is_marked=False),
    "unknown-route": Reply(404, {"code": "404 Not Found", "message": "No such resource."}),
}


@pytest.fixture
def cloud() -> Iterator[FakeOpenStack]:
    with serve_openstack() as cloud:
        cloud.reply_to("GET", f"{NOVA_PATH}/flavors/detail", Reply(200, {"flavors": [FLAVOR]}))
        cloud.reply_to("GET", "/image/v2/images", Reply(200, {"images": [IMAGE]}))
        cloud.reply_to("GET", "/network/v2.0/networks", Reply(200, {"networks": [NETWORK]}))
        cloud.reply_to("GET", SERVERS_PATH, Reply(200, {"servers": []}))
        hold_servers(cloud)
        yield cloud


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return replace(settings, database_url=f"sqlite:///{tmp_path}/vmapi.sqlite3")


@pytest.fixture
def backend(cloud: FakeOpenStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryBackend]:
    backend = OpenStackBackend.from_settings(openstack_settings(cloud.url, monkeypatch))
    # the harness uses no method that only the memory cloud has
    yield cast("MemoryBackend", backend)
    backend.close()


def hold_servers(cloud: FakeOpenStack, *servers: dict[str, Any]) -> None:
    """Let Nova list these servers, and show the one with `SERVER_ID` if it is listed."""
    cloud.reply_to("GET", DETAIL_PATH, Reply(200, {"servers": servers}))
    shown = Reply(200, {"server": servers[0]}) if servers else SERVER_NOT_FOUND
    cloud.reply_to("GET", SERVER_PATH, shown)
    cloud.reply_to("GET", f"{SERVER_PATH}/os-instance-actions", Reply(200, {"instanceActions": []}))


def create(harness: ApiHarness, key: str = "key-1") -> Any:
    headers = {"Idempotency-Key": key}
    return harness.call("POST", "/vms", json={**CREATE_BODY, "start": True}, headers=headers)


def lose_create(harness: ApiHarness, cloud: FakeOpenStack) -> Any:
    """Send a create that a proxy answers with 503; return its operation after the search."""
    sync_inventory(harness)
    cloud.reply_to("POST", SERVERS_PATH, Reply(503, "upstream connect error", PLAIN))
    response = create(harness)
    assert (response.status_code, response.json["code"]) == (504, "backend_timeout")
    harness.clock.sleep(200)
    harness.run_until_settled()
    operation = harness.get_operation(response)
    assert (operation["status"], operation["error"]["code"]) == ("failed", "backend_timeout")
    return operation


def show_late_server(
    harness: ApiHarness, cloud: FakeOpenStack, operation: Any, **members: Any
) -> None:
    """Let Nova list the server of a lost create, with the full proof, then with these members."""
    dispatched_at = datetime.fromisoformat(operation["created_at"])
    created_at = dispatched_at + (harness.backend.cloud_time() - harness.clock())
    server = {
        **SERVER,
        "created": f"{created_at + timedelta(seconds=5):%Y-%m-%dT%H:%M:%SZ}",
        "flavor": {"original_name": FLAVOR["name"], "vcpus": 1, "ram": 512},
        "image": {"id": IMAGE["id"]},
        "tags": [f"vmapi.operation.{operation['id']}"],
    }
    hold_servers(cloud, {**server, **members})
    cloud.reply_to("DELETE", SERVER_PATH, Reply(204, None, {"X-Openstack-Request-Id": REQUEST_ID}))


def sync_again(harness: ApiHarness) -> None:
    """Sync and clean up duplicates after a pause."""
    age_inventory(harness, 120)
    sync_inventory(harness)


@pytest.mark.parametrize("front", FRONTS_404)
def test_delete_behind_a_front_of_404_has_not_succeeded(
    harness: ApiHarness, cloud: FakeOpenStack, front: str
) -> None:
    hold_servers(cloud, SERVER)
    sync_inventory(harness)
    for path in ("/flavors", "/images", "/networks"):
        harness.get_json(path)
    cloud.front = FRONTS_404[front]
    response = harness.call("DELETE", f"/vms/{SERVER_ID}", headers=KEY)
    assert (response.status_code, response.json["code"]) == (504, "backend_timeout")
    read = harness.call("GET", f"/vms/{SERVER_ID}", headers=NO_CACHE)
    assert (read.status_code, read.json["code"]) == (502, "backend_error")
    for _ in range(3):
        sync_inventory(harness)
        harness.advance_time(5)
    assert harness.get_operation(response)["status"] == "running"
    assert [vm["id"] for vm in harness.get_json("/vms")["items"]] == [SERVER_ID]
    # the name of a VM that cannot be read is not free
    assert harness.post("/vms", CREATE_BODY).json["code"] == "backend_error"
    assert cloud.count_requests("POST", SERVERS_PATH) == 0
    # only Nova's own 404 ends the delete
    cloud.front = None
    cloud.reply_to("DELETE", SERVER_PATH, Reply(204, None, {"X-Openstack-Request-Id": REQUEST_ID}))
    harness.reconcile_once()
    assert harness.get_operation(response)["status"] == "running"
    hold_servers(cloud)
    harness.run_until_settled()
    assert harness.get_operation(response)["status"] == "succeeded"
    assert harness.call("GET", f"/vms/{SERVER_ID}").status_code == 404


@pytest.mark.parametrize("status", [302, 404, 408, 409, 429, 499, 500, 503, 520, 598])
def test_forwarded_create_with_a_foreign_error_is_made_once(
    harness: ApiHarness, cloud: FakeOpenStack, status: int
) -> None:
    sync_inventory(harness)
    cloud.reply_to("POST", SERVERS_PATH, Reply(status, "upstream connect error", PLAIN))
    response = create(harness)
    assert (response.status_code, response.json["code"]) == (504, "backend_timeout")
    hold_servers(cloud, SERVER)
    harness.advance_time(1)
    repeated = create(harness)
    assert (repeated.status_code, repeated.json["id"]) == (202, SERVER_ID)
    assert repeated.headers["Operation-Location"] == response.headers["Operation-Location"]
    assert repeated.headers["Idempotent-Replayed"] == "true"
    harness.run_until_settled()
    assert harness.get_operation(response)["status"] == "succeeded"
    assert cloud.count_requests("POST", SERVERS_PATH) == 1
    assert [vm["id"] for vm in harness.get_json("/vms")["items"]] == [SERVER_ID]


def test_repeat_gets_the_late_server_of_its_own_create(
    harness: ApiHarness, cloud: FakeOpenStack
) -> None:
    operation = lose_create(harness, cloud)
    show_late_server(harness, cloud, operation)
    age_inventory(harness, 120)
    repeated = create(harness)
    assert (repeated.status_code, repeated.json["id"]) == (202, SERVER_ID)
    assert repeated.headers["Idempotent-Replayed"] == "true"
    harness.run_until_settled()
    assert harness.get_operation(repeated)["status"] == "succeeded"
    for _ in range(2):
        sync_again(harness)
    again = create(harness)
    assert (again.status_code, again.json["id"]) == (201, SERVER_ID)
    assert again.headers["Operation-Location"] == repeated.headers["Operation-Location"]
    assert cloud.count_requests("POST", SERVERS_PATH) == 1
    assert cloud.count_requests("DELETE", SERVER_PATH) == 0


@pytest.mark.parametrize(
    ("key", "members"), [("key-2", {}), ("key-1", {"image": {"id": "another"}})]
)
def test_server_that_a_409_has_named_is_not_deleted(
    harness: ApiHarness, cloud: FakeOpenStack, key: str, members: dict[str, Any]
) -> None:
    operation = lose_create(harness, cloud)
    show_late_server(harness, cloud, operation, **members)
    age_inventory(harness, 120)
    taken = create(harness, key)
    assert (taken.status_code, taken.json["code"]) == (409, "name_taken")
    assert taken.json["vm_id"] == SERVER_ID
    show_late_server(harness, cloud, operation)
    for _ in range(2):
        sync_again(harness)
    assert cloud.count_requests("DELETE", SERVER_PATH) == 0
    assert [vm["id"] for vm in harness.get_json("/vms")["items"]] == [SERVER_ID]


def test_late_server_that_no_response_has_named_is_deleted(
    harness: ApiHarness, cloud: FakeOpenStack
) -> None:
    show_late_server(harness, cloud, lose_create(harness, cloud))
    sync_again(harness)
    assert cloud.count_requests("DELETE", SERVER_PATH) == 1


def test_throttled_cloud_is_not_unreachable(harness: ApiHarness, cloud: FakeOpenStack) -> None:
    hold_servers(cloud, SERVER)
    sync_inventory(harness)
    cloud.front = Reply(429, "slow down", {**PLAIN, "Retry-After": "30"})
    for _ in range(FAILURE_THRESHOLD + 1):
        response = harness.call("GET", f"/vms/{SERVER_ID}", headers=NO_CACHE)
        assert (response.status_code, response.headers["Retry-After"]) == (503, "30")
    stop = harness.post_action(SERVER_ID, "stop")
    assert (stop.status_code, stop.headers["Retry-After"]) == (504, "30")
    cloud.front = None
    assert harness.call("GET", f"/vms/{SERVER_ID}", headers=NO_CACHE).status_code == 200


def test_change_that_nova_throttles_is_not_done(harness: ApiHarness, cloud: FakeOpenStack) -> None:
    for status in (413, 429):
        fault = {"overLimit": {"code": status, "message": "This request was rate-limited."}}
        cloud.reply_to("POST", SERVERS_PATH, Reply(status, fault, {"Retry-After": "30"}))
        response = create(harness)
        assert (response.status_code, response.json["code"]) == (503, "backend_unavailable")
        assert response.headers["Retry-After"] == "30"
    assert harness.get_json("/operations?status=running")["total"] == 0


def test_lasting_error_of_nova_is_replayed(harness: ApiHarness, cloud: FakeOpenStack) -> None:
    fault = {"computeFault": {"code": 500, "message": "Unexpected API Error."}}
    cloud.reply_to("POST", SERVERS_PATH, Reply(500, fault))
    first, second = create(harness), create(harness)
    assert [first.status_code, second.status_code] == [502, 502]
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert cloud.count_requests("POST", SERVERS_PATH) == 1


def test_ambiguous_security_group_is_invalid_input(
    harness: ApiHarness, cloud: FakeOpenStack
) -> None:
    message = "Multiple security groups found matching 'web'. Use an ID to be more specific."
    cloud.reply_to("POST", SERVERS_PATH, Reply(409, {"conflictingRequest": {"message": message}}))
    response = create(harness)
    assert (response.status_code, response.json["code"]) == (422, "security_group_ambiguous")
    assert [error["pointer"] for error in response.json["errors"]] == ["/security_groups"]
