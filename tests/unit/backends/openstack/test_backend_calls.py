"""The requests to OpenStack that an operation causes, with warm caches."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.api_harness import BASE
from tests.support.fake_openstack import (
    ACCEPTED,
    DETAIL_PATH,
    NOVA_PATH,
    REQUEST_ID,
    SERVER_ID,
    SERVER_PATH,
    FakeOpenStack,
    Reply,
    openstack_settings,
    serve_openstack,
)
from vmapi.app import create_app
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.engine.thread import EngineThread
from vmapi.services.container import Services

SECOND_SERVER_ID = "22222222-2222-4333-8444-555555555555"
NO_SERVERS = Reply(200, {"servers": []})
RECORD = f"os-instance-actions/{REQUEST_ID}"
GET_SERVER = "GET servers/VM"
POST_ACTION = "POST servers/VM/action"
POLL_CHANGES = "GET servers/detail?changes-since"
LIST_SERVERS = "GET servers/detail"
GET_OUTCOME = f"GET servers/VM/{RECORD}"
ACTIONS = {
    "start": ("SHUTOFF", "powering-on", "ACTIVE"),
    "stop": ("ACTIVE", "powering-off", "SHUTOFF"),
    "restart": ("ACTIVE", "rebooting", "ACTIVE"),
    "pause": ("ACTIVE", "pausing", "PAUSED"),
    "resume": ("PAUSED", "unpausing", "ACTIVE"),
}
CREATE_BODY = {"name": "web-1", "flavor": "tiny", "image": "cirros"}


@dataclass
class CallCountHarness:
    """An app on a fake OpenStack, and the requests that the fake has received."""

    cloud: FakeOpenStack
    services: Services
    client: Any

    def call(self, method: str, path: str, **options: Any) -> TestResponse:
        return self.client.open(BASE + path, method=method, **options)

    def tick(self) -> None:
        """Reconcile the due operations, as the engine does in a tick."""
        leased = self.services.operations.list_leased()
        for due in self.services.operations.list_due(leased):
            self.services.operations.reconcile(due.operation, due.vm)

    def take_calls(self) -> list[str]:
        """Return the requests since the last call, with the names of query parameters only."""
        calls = [f"{request.method} {_shorten(request.path)}" for request in self.cloud.requests]
        self.cloud.requests.clear()
        return calls


def _shorten(path: str) -> str:
    path, _, query = path.removeprefix(f"{NOVA_PATH}/").replace(SERVER_ID, "VM").partition("?")
    names = "&".join(pair.partition("=")[0] for pair in query.split("&"))
    return f"{path}?{names}" if names else path


def server(status: str, task: str | None = None, vm_id: str = SERVER_ID) -> dict[str, Any]:
    at = "2999-01-01T00:00:00Z"
    members = {"created": at, "updated": at, "metadata": {}, "OS-EXT-STS:task_state": task}
    return {"id": vm_id, "status": status, "name": vm_id, **members}


def server_reply(*args: Any) -> Reply:
    return Reply(200, {"server": server(*args)})


def servers_reply(*servers: dict[str, Any]) -> Reply:
    return Reply(200, {"servers": list(servers)})


@pytest.fixture
def cloud() -> Iterator[FakeOpenStack]:
    flavor = {
        "id": "1",
        "name": "tiny",
        "vcpus": 1,
        "ram": 64,
        "disk": 1,
        "os-flavor-access:is_public": True,
    }
    event = {"event": "compute", "result": "Success", "finish_time": "2999-01-01T00:00:00"}
    with serve_openstack() as cloud:
        cloud.reply_to("GET", f"{NOVA_PATH}/flavors/detail", Reply(200, {"flavors": [flavor]}))
        image = {"id": "img", "name": "cirros", "status": "active"}
        cloud.reply_to("GET", "/image/v2/images", Reply(200, {"images": [image]}))
        network = {"id": "net", "name": "private"}
        cloud.reply_to("GET", "/network/v2.0/networks", Reply(200, {"networks": [network]}))
        cloud.reply_to("GET", DETAIL_PATH, NO_SERVERS)
        cloud.reply_to("POST", f"{SERVER_PATH}/action", ACCEPTED)
        record = Reply(200, {"instanceAction": {"events": [event]}})
        cloud.reply_to("GET", f"{SERVER_PATH}/{RECORD}", record)
        yield cloud


class SlowEngine(EngineThread):
    """An engine that polls once while an operation is reconciled, on a busy machine too."""

    def __init__(self) -> None:
        super().__init__(tick_seconds=3.0)


@pytest.fixture
def harness(
    cloud: FakeOpenStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[CallCountHarness]:
    settings = replace(
        openstack_settings(cloud.url, monkeypatch),
        database_url=f"sqlite:///{tmp_path}/vmapi.sqlite3",
        log_level="CRITICAL",
    )
    monkeypatch.setattr("vmapi.services.inventory.sync.SCHEDULE_TICK", 3600.0)
    monkeypatch.setattr("vmapi.bootstrap.EngineThread", SlowEngine)
    backend = OpenStackBackend.from_settings(settings)
    app = create_app(settings, backend)
    services = app.extensions["vmapi"]
    harness = CallCountHarness(cloud, services, app.test_client())
    for path in ("/flavors", "/images", "/networks"):
        assert harness.call("GET", path).status_code == 200
    cloud.requests.clear()
    yield harness
    services.engine.stop()
    services.store.close()
    backend.close()


@pytest.fixture
def manual_harness(harness: CallCountHarness) -> CallCountHarness:
    """A harness without an engine thread: `tick` moves the operations."""
    harness.services.engine.stop()
    return harness


@pytest.mark.parametrize("action", ACTIONS)
def test_action_polls_until_its_outcome(manual_harness: CallCountHarness, action: str) -> None:
    old_status, task, new_status = ACTIONS[action]
    manual_harness.cloud.reply_to("GET", SERVER_PATH, server_reply(old_status))
    manual_harness.cloud.reply_to(
        "GET",
        DETAIL_PATH,
        NO_SERVERS,
        servers_reply(server(old_status, task)),
        servers_reply(server(new_status)),
    )
    assert manual_harness.call("POST", f"/vms/{SERVER_ID}/{action}").status_code == 202
    assert manual_harness.take_calls() == [GET_SERVER, POST_ACTION]
    manual_harness.tick()
    manual_harness.tick()
    assert manual_harness.take_calls() == [POLL_CHANGES, POLL_CHANGES]
    manual_harness.tick()
    assert manual_harness.take_calls() == [POLL_CHANGES, GET_OUTCOME]
    assert_operation_finished(manual_harness)


def test_action_with_wait_polls_until_its_outcome(harness: CallCountHarness) -> None:
    harness.cloud.reply_to("GET", SERVER_PATH, server_reply("SHUTOFF"), server_reply("ACTIVE"))
    harness.cloud.reply_to("GET", DETAIL_PATH, servers_reply(server("ACTIVE")))
    response = harness.call("POST", f"/vms/{SERVER_ID}/start", headers={"Prefer": "wait=30"})
    assert (response.status_code, response.json["status"]) == (200, "RUNNING")
    assert harness.take_calls() == [GET_SERVER, POST_ACTION, POLL_CHANGES, GET_OUTCOME]


def test_action_on_an_inventoried_vm_needs_no_read(manual_harness: CallCountHarness) -> None:
    manual_harness.cloud.reply_to(
        "GET", DETAIL_PATH, servers_reply(server("SHUTOFF")), servers_reply(server("ACTIVE"))
    )
    manual_harness.services.periodic_tasks["full-sync"]()
    assert manual_harness.take_calls() == [LIST_SERVERS]
    response = manual_harness.call("POST", f"/vms/{SERVER_ID}/start")
    assert (response.status_code, response.json["task"]) == (202, "starting")
    assert manual_harness.take_calls() == [POST_ACTION]
    manual_harness.tick()
    assert manual_harness.take_calls() == [POLL_CHANGES, GET_OUTCOME]
    vm = manual_harness.call("GET", f"/vms/{SERVER_ID}").json
    assert (vm["status"], vm["task"]) == ("RUNNING", None)
    assert_operation_finished(manual_harness)


def test_create_checks_the_name_and_polls_until_stopped(manual_harness: CallCountHarness) -> None:
    created = Reply(202, {"server": {"id": SERVER_ID}}, ACCEPTED.headers)
    manual_harness.cloud.reply_to("POST", f"{NOVA_PATH}/servers", created)
    manual_harness.cloud.reply_to("GET", SERVER_PATH, server_reply("BUILD"))
    manual_harness.cloud.reply_to(
        "GET",
        DETAIL_PATH,
        NO_SERVERS,
        NO_SERVERS,
        servers_reply(server("ACTIVE")),
        servers_reply(server("SHUTOFF")),
    )
    assert manual_harness.call("POST", "/vms", json=CREATE_BODY).status_code == 202
    assert manual_harness.take_calls() == ["GET servers/detail?name", "POST servers"]
    manual_harness.tick()
    assert manual_harness.take_calls() == [POLL_CHANGES]
    manual_harness.tick()
    assert manual_harness.take_calls() == [POLL_CHANGES, POST_ACTION]
    manual_harness.tick()
    assert manual_harness.take_calls() == [POLL_CHANGES, GET_OUTCOME]
    assert_operation_finished(manual_harness)


def test_create_with_a_fresh_inventory_needs_no_name_check(
    manual_harness: CallCountHarness,
) -> None:
    manual_harness.cloud.reply_to(
        "POST", f"{NOVA_PATH}/servers", Reply(202, {"server": {"id": SERVER_ID}}, ACCEPTED.headers)
    )
    for task in ("full-sync", "incremental-sync"):
        manual_harness.services.periodic_tasks[task]()
    manual_harness.take_calls()
    response = manual_harness.call("POST", "/vms", json=CREATE_BODY)
    assert (response.status_code, response.json["status"]) == (202, "BUILDING")
    assert manual_harness.take_calls() == ["POST servers"]
    assert manual_harness.call("GET", f"/vms/{SERVER_ID}").json == response.json
    assert manual_harness.take_calls() == []


def test_delete_polls_until_deleted(manual_harness: CallCountHarness) -> None:
    manual_harness.cloud.reply_to("GET", SERVER_PATH, server_reply("ACTIVE"))
    manual_harness.cloud.reply_to("GET", DETAIL_PATH, NO_SERVERS, servers_reply(server("DELETED")))
    manual_harness.cloud.reply_to("DELETE", SERVER_PATH, replace(ACCEPTED, status=204))
    assert manual_harness.call("DELETE", f"/vms/{SERVER_ID}").status_code == 202
    assert manual_harness.take_calls() == [GET_SERVER, "DELETE servers/VM"]
    manual_harness.tick()
    assert manual_harness.take_calls() == [POLL_CHANGES]
    manual_harness.tick()
    assert manual_harness.take_calls() == [POLL_CHANGES]
    assert_operation_finished(manual_harness)


def test_one_poll_serves_several_operations(manual_harness: CallCountHarness) -> None:
    second_path = f"{NOVA_PATH}/servers/{SECOND_SERVER_ID}"
    manual_harness.cloud.reply_to("POST", f"{second_path}/action", ACCEPTED)
    for vm_id, path in ((SERVER_ID, SERVER_PATH), (SECOND_SERVER_ID, second_path)):
        manual_harness.cloud.reply_to("GET", path, server_reply("SHUTOFF", None, vm_id))
        assert manual_harness.call("POST", f"/vms/{vm_id}/start").status_code == 202
    manual_harness.take_calls()
    manual_harness.tick()
    assert manual_harness.take_calls() == [POLL_CHANGES]


def assert_operation_finished(harness: CallCountHarness) -> None:
    """Assert that no operation is left and that a tick sends no request."""
    assert not harness.services.operations.list_leased()
    harness.tick()
    assert harness.take_calls() == []
