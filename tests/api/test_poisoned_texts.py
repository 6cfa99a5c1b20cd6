"""Texts of the cloud that no database can hold: they hide no VM, and stop no read and no sync."""

import copy
import random
import string
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, cast

import pytest
from flask import Flask
from structlog.testing import capture_logs

from tests.support.databases import new_postgresql
from tests.support.fake_openstack import (
    DETAIL_PATH,
    NOVA_PATH,
    SERVER_ID,
    FakeOpenStack,
    Reply,
    openstack_settings,
    serve_openstack,
)
from vmapi.app import create_app
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.store import schema
from vmapi.store.database import Database
from vmapi.store.store import Store
from vmapi.telemetry.logging import configure

Path = tuple[str | int, ...]

MISSING = object()
LONG_TEXT = "".join(random.Random(1).choices(string.ascii_letters, k=2**14))
"""More than an index entry of PostgreSQL holds, 2,704 bytes, even if compressed."""
HUGE_TEXT = "x" * 2**20
POISONS: dict[str, Any] = {
    "NUL": "a\0b",
    "long": LONG_TEXT,
    "huge": HUGE_TEXT,
    "surrogate": "a\ud800b",
    "null": None,
    "number": 10**30,
    "negative": -1,
    "boolean": True,
    "list": ["a\0b"],
    "object": {"a\0b": "\udfff"},
    "missing": MISSING,
}
OTHER_ID = "99999999-2222-4333-8444-555555555555"
OPERATION_TAG = "vmapi.operation.11111111-2222-4333-8444-666666666666"
SERVER = {
    "id": SERVER_ID,
    "name": "poisoned",
    "status": "ERROR",
    "tenant_id": "p",
    "user_id": "u",
    "metadata": {"key": "value", "vmapi.project": "default"},
    "image": {"id": "image-1"},
    "flavor": {"original_name": "m1.tiny", "vcpus": 1, "ram": 512, "disk": 1},
    "created": "2026-11-22T15:55:50Z",
    "updated": "2026-11-22T15:55:52Z",
    "addresses": {"net": [{"version": 4, "addr": "198.18.0.1", "OS-EXT-IPS:type": "fixed"}]},
    "key_name": "key-1",
    "OS-SRV-USG:launched_at": "2026-11-22T15:55:52.000000",
    "OS-EXT-STS:task_state": "powering-off",
    "security_groups": [{"name": "default"}],
    "fault": {"code": 500, "message": "It broke."},
    "locked": False,
    "tags": [OPERATION_TAG],
}
HEALTHY = {**SERVER, "id": OTHER_ID, "status": "ACTIVE", "OS-EXT-STS:task_state": None, "tags": []}
IMAGE = {
    "id": "image-1",
    "name": "cirros",
    "status": "active",
    "visibility": "public",
    "owner": "p",
    "min_disk": 1,
    "min_ram": 1,
}
SIZES = {"vcpus": 1, "ram": 512, "disk": 1}
FLAVOR = {"id": "1", "name": "m1.tiny", **SIZES, "os-flavor-access:is_public": True}
NETWORK = {"id": "n-1", "name": "net", "shared": True, "router:external": False, "project_id": "p"}
LISTS = {
    "flavors": (f"{NOVA_PATH}/flavors/detail", FLAVOR),
    "images": ("/image/v2/images", IMAGE),
    "networks": ("/network/v2.0/networks", NETWORK),
}
NO_CACHE = {"Cache-Control": "no-cache"}


def paths_of(value: Any, prefix: Path = ()) -> Iterator[Path]:
    """Yield the path of each member and item of a document."""
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, nested in items:
        yield (*prefix, key)
        yield from paths_of(nested, (*prefix, key))


def copy_with_parent(document: Any, path: Path) -> tuple[Any, Any]:
    """Return a copy of a document, and in it the parent of the member or item of a path."""
    parent = changed = copy.deepcopy(document)
    for key in path[:-1]:
        parent = parent[key]
    return changed, parent


def poisoned(document: Any, path: Path, poison: Any) -> Any:
    """Return a copy of a document with the member or item of a path replaced or removed."""
    changed, parent = copy_with_parent(document, path)
    if poison is MISSING:
        del parent[path[-1]]
    else:
        parent[path[-1]] = poison
    return changed


def poisoned_keys(document: Any, path: Path, key: str) -> Any:
    """Return a copy of a document with the key of a member replaced."""
    changed, parent = copy_with_parent(document, path)
    parent[key] = parent.pop(path[-1])
    return changed


@dataclass
class PoisonedCloud:
    """A vmapi on a fake OpenStack with one poisoned and one healthy server."""

    cloud: FakeOpenStack
    app: Flask
    numbers: "count[int]"

    @property
    def store(self) -> Store:
        return cast("Store", self.app.extensions["vmapi"].store)

    def get(self, path: str, status: int = 200) -> Any:
        """Return the JSON of a read from the cloud."""
        response = self.app.test_client().get(f"/api/v1{path}", headers=NO_CACHE)
        assert response.status_code == status, (path, response.text[:1000])
        return response.json

    def list_servers(self, servers: Mapping[str, Any]) -> str:
        """Let the cloud list servers and a healthy one; return the name of the latter."""
        name = f"web-{next(self.numbers)}"
        servers = {**servers, OTHER_ID: {**HEALTHY, "name": name}}
        self.cloud.reply_to("GET", DETAIL_PATH, Reply(200, {"servers": list(servers.values())}))
        for server_id, server in servers.items():
            path = f"{NOVA_PATH}/servers/{server_id}"
            self.cloud.reply_to("GET", path, Reply(200, {"server": server}))
        return name

    def check_list(self, servers: Mapping[str, Any]) -> str:
        """Check that the list shows the present name of the healthy server, and return it."""
        name = self.list_servers(servers)
        names = {vm["id"]: vm["name"] for vm in self.get("/vms?page_size=200")["items"]}
        assert names[OTHER_ID] == name
        return name

    def check_reads(self, servers: Mapping[str, Any]) -> None:
        """Check that every read shows the present state of the healthy server."""
        name = self.check_list(servers)
        assert self.get(f"/vms/{OTHER_ID}")["name"] == name
        name = self.list_servers(servers)
        self.app.extensions["vmapi"].periodic_tasks["incremental-sync"].func()
        snapshot = self.store.inventory.get(OTHER_ID)
        assert snapshot is not None
        assert snapshot.vm.name == name

    def check_read(self, server_id: str, path: Path) -> None:
        """Check that a read of a poisoned server shows it, or fails for its id or a time."""
        response = self.app.test_client().get(f"/api/v1/vms/{server_id}", headers=NO_CACHE)
        # Nova's 200 without an id or with a malformed time is not about a server
        may_fail = path[0] in ("id", "created", "updated", "tenant_id")
        assert response.status_code in ((200, 404, 502) if may_fail else (200,)), response.text


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, new_database_folder: Callable[[], str]) -> Iterator[str]:
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{new_database_folder()}/vmapi.sqlite3"
        return
    with new_postgresql() as new_url:
        database = Database(new_url, 2, schema.ensure_current)
        schema.upgrade(database)
        database.close()
        yield new_url


@pytest.fixture(scope="module")
def deployment(url: str) -> Iterator[PoisonedCloud]:
    """One app for each database: the tests of a database share its inventory."""
    with ExitStack() as stack:
        cloud = stack.enter_context(serve_openstack())
        settings = replace(
            openstack_settings(cloud.url, stack.enter_context(pytest.MonkeyPatch.context())),
            database_url=url,
            auth=("none",),
            rate_reads=(),
            rate_address=(),
            engine="worker",
        )
        backend = OpenStackBackend.from_settings(settings)
        stack.callback(backend.close)
        app = create_app(settings, backend)
        harness = PoisonedCloud(cloud, app, count(1))
        stack.callback(harness.store.close)
        harness.check_reads({})  # starts the heartbeat of the store, which all tests share
        yield harness


@pytest.fixture
def vmapi(deployment: PoisonedCloud) -> PoisonedCloud:
    """The app on a cloud without poison."""
    # another fixture restores the defaults of logging after each test
    configure("WARNING")
    cloud = deployment.cloud
    for method, path in list(cloud.replies):
        if path.startswith(f"{NOVA_PATH}/servers/"):
            del cloud.replies[method, path]
    for name, (path, item) in LISTS.items():
        cloud.reply_to("GET", path, Reply(200, {name: [item]}))
    deployment.check_reads({SERVER_ID: SERVER})
    return deployment


def server_id(number: int) -> str:
    return f"11111111-2222-4333-8444-{number:012}"


@pytest.mark.parametrize("kind", POISONS)
def test_no_member_of_a_server_stops_a_read(vmapi: PoisonedCloud, kind: str) -> None:
    paths = {server_id(number): path for number, path in enumerate(paths_of(SERVER))}
    servers = {
        id: poisoned({**SERVER, "id": id}, path, POISONS[kind]) for id, path in paths.items()
    }
    # each poison alone too: one of them must not hide the effect of another
    for number, (id, server) in enumerate(servers.items()):
        if number % 4 == 0:
            vmapi.check_list({id: server})
    vmapi.check_reads(servers)
    for id, path in paths.items():
        vmapi.check_read(id, path)


@pytest.mark.parametrize("key", ["a\0b", HUGE_TEXT, "a\ud800b", ""])
def test_no_key_of_a_server_stops_a_read(vmapi: PoisonedCloud, key: str) -> None:
    for path in (("metadata", "key"), ("addresses", "net"), ("name",)):
        vmapi.check_reads({SERVER_ID: poisoned_keys(SERVER, path, key)})
        vmapi.check_read(SERVER_ID, path)


@pytest.mark.parametrize(
    "suffix", ["", "x" * 37, "\0", "a\0b", HUGE_TEXT, "\ud800", OPERATION_TAG[-36:] + "0"]
)
def test_tag_without_a_uuid_is_no_operation_tag(vmapi: PoisonedCloud, suffix: str) -> None:
    tags = [f"vmapi.operation.{suffix}", None, 5]
    vmapi.check_reads({SERVER_ID: {**SERVER, "tags": tags}})
    (vm,) = vmapi.app.extensions["vmapi"].backend.list_vms(name=SERVER["name"])
    assert vm.operation_id is None


@pytest.mark.parametrize("kind", POISONS)
def test_no_member_of_the_catalog_stops_a_read(vmapi: PoisonedCloud, kind: str) -> None:
    for name, (path, item) in LISTS.items():
        for member in item:
            items = [poisoned(item, (member,), POISONS[kind]), {**item, "id": "healthy"}]
            vmapi.cloud.reply_to("GET", path, Reply(200, {name: items}))
            backend = vmapi.app.extensions["vmapi"].backend
            getattr(backend, f"list_{name}")(refresh=True)
            assert "healthy" in [listed["id"] for listed in vmapi.get(f"/{name}")["items"]]
    vmapi.check_reads({SERVER_ID: SERVER})


def test_texts_are_stored_without_unstorable_characters(vmapi: PoisonedCloud) -> None:
    texts = {"name": "a\0b\ud800", "metadata": {"k\0": "v\0" * 300}}
    vmapi.check_reads({SERVER_ID: {**SERVER, **texts}})
    vm = vmapi.get(f"/vms/{SERVER_ID}")
    assert vm["name"] == "a�b�"
    assert vm["metadata"] == {"k�": ("v�" * 300)[:255]}


def test_vm_that_cannot_be_stored_is_left_out(vmapi: PoisonedCloud) -> None:
    backend = vmapi.app.extensions["vmapi"].backend.driver
    vms = [replace(backend.get_vm(SERVER_ID), id=f"{number:036}") for number in range(9)]
    # as a driver without the rules for texts would report it
    vms[4] = replace(vms[4], name="a\ud800b")
    inventory = vmapi.store.inventory
    with capture_logs() as lines:
        stored_ids = inventory.save_observations(vms, inventory.observation_time())
    assert stored_ids == {vm.id for vm in vms} - {vms[4].id}
    assert inventory.get(vms[4].id) is None
    assert [(line["event"], line["vm_id"]) for line in lines] == [
        ("VM cannot be stored", vms[4].id),
    ]
