"""What a change sends to OpenStack, request by request, once what is remembered is warm."""

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
from vmapi.services.container import Services

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")

SECOND = "22222222-2222-4333-8444-555555555555"
NO_PAGE = Reply(200, {"servers": []})
RECORD = f"os-instance-actions/{REQUEST_ID}"
LOOK, ACT, POLL = "GET servers/VM", "POST servers/VM/action", "GET servers/detail?changes-since"
EVERYTHING = "GET servers/detail"
JUDGE = f"GET servers/VM/{RECORD}"
ACTIONS = {
    "start": ("SHUTOFF", "powering-on", "ACTIVE"),
    "stop": ("ACTIVE", "powering-off", "SHUTOFF"),
    "restart": ("ACTIVE", "rebooting", "ACTIVE"),
    "pause": ("ACTIVE", "pausing", "PAUSED"),
    "resume": ("PAUSED", "unpausing", "ACTIVE"),
}
WANTED = {"name": "web-1", "flavor": "tiny", "image": "cirros"}


@dataclass
class CallCountHarness:
    """An app on a cloud that counts what it is asked; its engine works when a test says so."""

    cloud: FakeOpenStack
    services: Services
    client: Any

    def call(self, method: str, path: str, **given: Any) -> TestResponse:
        return self.client.open(BASE + path, method=method, **given)

    def tick(self) -> None:
        """Do what the engine does once a tick."""
        mine = self.services.operations.list_leased()
        for ready in self.services.operations.list_due(mine):
            self.services.operations.reconcile(ready.operation, ready.vm)

    def take_calls(self) -> list[str]:
        """Return what was asked since the last time; of a query the names only."""
        asked = [f"{seen.method} {_short(seen.path)}" for seen in self.cloud.requests]
        self.cloud.requests.clear()
        return asked


def _short(path: str) -> str:
    path, _, query = path.removeprefix(f"{NOVA_PATH}/").replace(SERVER_ID, "VM").partition("?")
    names = "&".join(pair.partition("=")[0] for pair in query.split("&"))
    return f"{path}?{names}" if names else path


def server(status: str, task: str | None = None, vm_id: str = SERVER_ID) -> dict[str, Any]:
    at = "2999-01-01T00:00:00Z"
    told = {"created": at, "updated": at, "metadata": {}, "OS-EXT-STS:task_state": task}
    return {"id": vm_id, "status": status, "name": vm_id, **told}


def one(*args: Any) -> Reply:
    return Reply(200, {"server": server(*args)})


def many(*servers: dict[str, Any]) -> Reply:
    return Reply(200, {"servers": list(servers)})


@pytest.fixture
def cloud() -> Iterator[FakeOpenStack]:
    flavor = {"id": "1", "name": "tiny", "vcpus": 1, "ram": 64, "disk": 1}
    event = {"event": "compute", "result": "Success", "finish_time": "2999-01-01T00:00:00"}
    with serve_openstack() as cloud:
        cloud.reply_to("GET", f"{NOVA_PATH}/flavors/detail", Reply(200, {"flavors": [flavor]}))
        image = {"id": "img", "name": "cirros", "status": "active"}
        cloud.reply_to("GET", "/image/v2/images", Reply(200, {"images": [image]}))
        network = {"id": "net", "name": "private"}
        cloud.reply_to("GET", "/network/v2.0/networks", Reply(200, {"networks": [network]}))
        cloud.reply_to("GET", DETAIL_PATH, NO_PAGE)
        cloud.reply_to("POST", f"{SERVER_PATH}/action", ACCEPTED)
        record = Reply(200, {"instanceAction": {"events": [event]}})
        cloud.reply_to("GET", f"{SERVER_PATH}/{RECORD}", record)
        yield cloud


@pytest.fixture
def bench(
    cloud: FakeOpenStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[CallCountHarness]:
    ours = replace(
        openstack_settings(cloud.url, monkeypatch),
        database_url=f"sqlite:///{tmp_path}/vmapi.sqlite3",
        log_level="CRITICAL",
    )
    monkeypatch.setattr("vmapi.services.inventory.sync.SCHEDULE_TICK", 3600.0)
    backend = OpenStackBackend.from_settings(ours)
    app = create_app(ours, backend)
    services = app.extensions["vmapi"]
    bench = CallCountHarness(cloud, services, app.test_client())
    for path in ("/flavors", "/images", "/networks"):
        assert bench.call("GET", path).status_code == 200
    cloud.requests.clear()
    yield bench
    services.engine.stop()
    services.store.close()
    backend.close()


@pytest.fixture
def still(bench: CallCountHarness) -> CallCountHarness:
    """A bench whose engine is moved by hand."""
    bench.services.engine.stop()
    return bench


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action(still: CallCountHarness, action: str) -> None:
    before, task, after = ACTIONS[action]
    still.cloud.reply_to("GET", SERVER_PATH, one(before))
    still.cloud.reply_to(
        "GET", DETAIL_PATH, NO_PAGE, many(server(before, task)), many(server(after))
    )
    assert still.call("POST", f"/vms/{SERVER_ID}/{action}").status_code == 202
    assert still.take_calls() == [LOOK, ACT]
    still.tick()
    still.tick()
    assert still.take_calls() == [POLL, POLL]
    still.tick()
    assert still.take_calls() == [POLL, JUDGE]
    assert_over(still)


def test_an_action_that_is_waited_for(bench: CallCountHarness) -> None:
    bench.cloud.reply_to("GET", SERVER_PATH, one("SHUTOFF"), one("ACTIVE"))
    bench.cloud.reply_to("GET", DETAIL_PATH, many(server("ACTIVE")))
    answer = bench.call("POST", f"/vms/{SERVER_ID}/start", headers={"Prefer": "wait=30"})
    assert (answer.status_code, answer.json["status"]) == (200, "RUNNING")
    assert bench.take_calls() == [LOOK, ACT, POLL, JUDGE]


def test_an_action_on_a_vm_that_is_known(still: CallCountHarness) -> None:
    still.cloud.reply_to("GET", DETAIL_PATH, many(server("SHUTOFF")), many(server("ACTIVE")))
    still.services.periodic_tasks["full-sync"]()
    assert still.take_calls() == [EVERYTHING]
    answer = still.call("POST", f"/vms/{SERVER_ID}/start")
    assert (answer.status_code, answer.json["task"]) == (202, "starting")
    assert still.take_calls() == [ACT]
    still.tick()
    assert still.take_calls() == [POLL, JUDGE]
    found = still.call("GET", f"/vms/{SERVER_ID}").json
    assert (found["status"], found["task"]) == ("RUNNING", None)
    assert_over(still)


def test_a_create(still: CallCountHarness) -> None:
    made = Reply(202, {"server": {"id": SERVER_ID}}, ACCEPTED.headers)
    still.cloud.reply_to("POST", f"{NOVA_PATH}/servers", made)
    still.cloud.reply_to("GET", SERVER_PATH, one("BUILD"))
    still.cloud.reply_to(
        "GET", DETAIL_PATH, NO_PAGE, NO_PAGE, many(server("ACTIVE")), many(server("SHUTOFF"))
    )
    assert still.call("POST", "/vms", json=WANTED).status_code == 202
    assert still.take_calls() == ["GET servers/detail?name", "POST servers"]
    still.tick()
    assert still.take_calls() == [POLL]
    still.tick()
    assert still.take_calls() == [POLL, ACT]
    still.tick()
    assert still.take_calls() == [POLL, JUDGE]
    assert_over(still)


def test_a_create_whose_name_is_known_to_be_free(still: CallCountHarness) -> None:
    still.cloud.reply_to(
        "POST", f"{NOVA_PATH}/servers", Reply(202, {"server": {"id": SERVER_ID}}, ACCEPTED.headers)
    )
    for chore in ("full-sync", "incremental-sync"):
        still.services.periodic_tasks[chore]()
    still.take_calls()
    made = still.call("POST", "/vms", json=WANTED)
    assert (made.status_code, made.json["status"]) == (202, "BUILDING")
    assert still.take_calls() == ["POST servers"]
    assert still.call("GET", f"/vms/{SERVER_ID}").json == made.json
    assert still.take_calls() == []


def test_a_delete(still: CallCountHarness) -> None:
    still.cloud.reply_to("GET", SERVER_PATH, one("ACTIVE"))
    still.cloud.reply_to("GET", DETAIL_PATH, NO_PAGE, many(server("DELETED")))
    still.cloud.reply_to("DELETE", SERVER_PATH, replace(ACCEPTED, status=204))
    assert still.call("DELETE", f"/vms/{SERVER_ID}").status_code == 202
    assert still.take_calls() == [LOOK, "DELETE servers/VM"]
    still.tick()
    assert still.take_calls() == [POLL]
    still.tick()
    assert still.take_calls() == [POLL]
    assert_over(still)


def test_one_poll_serves_all_that_wait(still: CallCountHarness) -> None:
    second = f"{NOVA_PATH}/servers/{SECOND}"
    still.cloud.reply_to("POST", f"{second}/action", ACCEPTED)
    for vm_id, path in ((SERVER_ID, SERVER_PATH), (SECOND, second)):
        still.cloud.reply_to("GET", path, one("SHUTOFF", None, vm_id))
        assert still.call("POST", f"/vms/{vm_id}/start").status_code == 202
    still.take_calls()
    still.tick()
    assert still.take_calls() == [POLL]


def assert_over(bench: CallCountHarness) -> None:
    """See that nothing is left to do, and that nothing is asked for nothing."""
    assert not bench.services.operations.list_leased()
    bench.tick()
    assert bench.take_calls() == []
