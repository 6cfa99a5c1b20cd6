"""The audit trail of what clients do: from where, under which id, and what came of it."""

from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request

from tests.contract.store.chain import rows
from tests.world import BASE, WANTED, World
from vmapi.app import create_app
from vmapi.backends.memory.catalog import FLAVORS, IMAGES
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.models.vm import CreateSpec
from vmapi.settings import Settings

PEER = "192.0.2.1"
CLIENT = "198.51.100.7"
FORGED = "203.0.113.66"


def trail(app: Flask) -> list[Any]:
    """Return the entries of an app's trail."""
    store: Any = app.extensions["vmapi"].store
    return rows(store._opened().database)


@pytest.fixture
def served() -> Iterator[Callable[..., Flask]]:
    """Make apps of their own, that are closed afterwards."""
    made: list[Flask] = []

    def serve(**settings: Any) -> Flask:
        app = create_app(Settings(log_level="CRITICAL", **settings), MemoryBackend())
        app.extensions["vmapi"].engine.stop()
        made.append(app)
        return app

    yield serve
    for app in made:
        app.extensions["vmapi"].store.close()


def addresses(app: Flask, peer: str | None, **headers: str) -> set[str]:
    """Return from where a create comes, by the trail."""
    answer = app.test_client().post(
        f"{BASE}/vms",
        json=WANTED,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        environ_overrides={"REMOTE_ADDR": peer},
    )
    assert answer.status_code == 201, answer.text
    return {row.address for row in trail(app)}


@pytest.mark.parametrize(
    ("proxies", "told", "address"),
    [
        (0, None, PEER),
        (0, FORGED, PEER),
        (0, f"{FORGED}, {CLIENT}", PEER),
        (1, CLIENT, CLIENT),
        (1, f"{FORGED}, {CLIENT}", CLIENT),
        (1, f"{FORGED}, {FORGED}, {CLIENT}", CLIENT),
        (1, None, PEER),
        (1, "2001:db8::7", "2001:db8::7"),
        (2, f"{FORGED}, {CLIENT}, 192.0.2.9", CLIENT),
        (2, CLIENT, PEER),
        (1, "x" * 200, "x" * 64),
    ],
)
def test_the_address_is_what_the_proxies_say_and_nobody_else(
    served: Callable[..., Flask], proxies: int, told: str | None, address: str
) -> None:
    headers = {} if told is None else {"X_Forwarded_For": told}
    others = {"Forwarded": f"for={FORGED}", "X_Real_IP": FORGED, "X_Client_IP": FORGED}
    assert addresses(served(proxies=proxies), PEER, **headers, **others) == {address}


def test_a_peer_on_a_socket_has_no_address(served: Callable[..., Flask]) -> None:
    assert addresses(served(), "") == {""}


def test_proxies_say_nothing_else(served: Callable[..., Flask]) -> None:
    app = served(proxies=1)
    seen = []
    app.before_request(lambda: seen.append(request.host_url))
    forged = {"X_Forwarded_Host": "evil.example", "X_Forwarded_Proto": "https"}
    more = {"X_Forwarded_Port": "1", "X_Forwarded_Prefix": "/evil"}
    addresses(app, PEER, X_Forwarded_For=CLIENT, **forged, **more)
    assert seen == ["http://localhost/"]


def told(world: World) -> list[tuple[str, str, str | None, str]]:
    return [(row.action, row.outcome, row.code, row.request_id) for row in trail(world.app)]


def test_a_life(world: World) -> None:
    vm_id = world.create()["id"]
    for method, path, body in [
        ("POST", "/start", None),
        ("PATCH", "", {"name": "web-2"}),
        ("DELETE", "", None),
    ]:
        given = {} if body is None else {"json": body}
        headers = {"X-Request-ID": f"{method}-1"}
        answer = world.call(method, f"/vms/{vm_id}{path}", headers=headers, **given)
        assert answer.status_code in (200, 204)
    assert told(world)[2:] == [
        ("start", "accepted", None, "POST-1"),
        ("start", "succeeded", None, "POST-1"),
        ("update", "accepted", None, "PATCH-1"),
        ("update", "succeeded", None, "PATCH-1"),
        ("delete", "accepted", None, "DELETE-1"),
        ("delete", "succeeded", None, "DELETE-1"),
    ]
    entries = trail(world.app)
    assert [row.vm_id for row in entries] == [None, *[vm_id] * 7]
    assert {(row.user, row.project, row.address) for row in entries} == {
        ("anonymous", "default", "127.0.0.1")
    }
    operations = {each["id"] for each in world.get("/operations")["items"]}
    assert {row.operation_id for row in entries} == operations


def test_each_of_many(world: World) -> None:
    ids = [world.running(f"web-{number}") for number in range(2)]
    before = len(trail(world.app))
    wanted = {"action": "stop", "ids": [*ids, "00000000-0000-4000-8000-000000000000"]}
    headers = {"X-Request-ID": "many-1"}
    assert world.call("POST", "/vms/actions", json=wanted, headers=headers).status_code == 202
    world.settle()
    entries = trail(world.app)[before:]
    assert {(row.vm_id, row.outcome) for row in entries} == {
        (vm_id, outcome) for vm_id in ids for outcome in ("accepted", "succeeded")
    }
    assert len(entries) == 4
    assert {(row.request_id, row.address) for row in entries} == {("many-1", "127.0.0.1")}


def test_what_is_refused(world: World) -> None:
    spec = CreateSpec("web-1", min(FLAVORS), min(IMAGES), None, {}, None, None, ())
    world.backend.create(spec, "somebody else's")
    assert world.post("/vms", WANTED).status_code == 409
    assert world.post("/vms", {**WANTED, "name": "web-2", "key_name": "no"}).status_code == 422
    assert [line[:3] for line in told(world)] == [
        ("create", "accepted", None),
        ("create", "refused", "name_taken"),
        ("create", "accepted", None),
        ("create", "failed", "key_not_found"),
    ]


def test_what_changes_nothing_is_not_in_it(world: World) -> None:
    vm_id = world.running()
    before = trail(world.app)
    world.vm(vm_id)
    world.get("/vms")
    for answer, status in [
        (world.post("/vms", WANTED), 409),
        (world.do(vm_id, "start"), 409),
        (world.post("/vms", {"name": "?"}), 422),
        (world.do("00000000-0000-4000-8000-000000000000", "stop"), 404),
    ]:
        assert answer.status_code == status
    assert trail(world.app) == before


def test_what_is_repeated_is_in_it_once(world: World) -> None:
    given = {"json": WANTED, "headers": {"Idempotency-Key": "k-1"}}
    answers = [world.call("POST", "/vms", **given) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert [line[:2] for line in told(world)] == [("create", "accepted"), ("create", "succeeded")]


SECRET = "hunter2-in-user-data"
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHunter2InAnSshKeyHunter2InAnSshKey me@there"


def test_no_secret_of_a_session_is_in_the_database(
    served: Callable[..., Flask], tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    url = f"sqlite:///{folder}/vmapi.sqlite3"
    app = served(database_url=url, audit_key="k" * 32)
    client = app.test_client()
    secret = {"user_data": f"#cloud-config\npassword: {SECRET}\n", "ssh_keys": [SSH_KEY]}
    wanted = {**WANTED, "metadata": {"team": "metadata-is-kept-in-the-cloud"}, **secret}
    key = {"Idempotency-Key": "k-1"}
    for body, headers, status in [
        (wanted, key, 201),
        (wanted, key, 201),
        (wanted, {}, 409),
        ({**wanted, "name": "web-2", "key_name": "nobody's"}, {}, 422),
        ({**wanted, "name": "web-3", "start": True}, {}, 201),
        ({**wanted, "name": "web-4", "flavor": "none"}, {"Idempotency-Key": "k-2"}, 422),
    ]:
        answer = client.post(f"{BASE}/vms", json=body, headers=headers)
        assert answer.status_code == status, answer.text
    app.extensions["vmapi"].housekeeping.tick()
    for each in client.get(f"{BASE}/vms").json["items"]:
        assert client.delete(f"{BASE}/vms/{each['id']}").status_code == 204
    check_files(folder)
    app.extensions["vmapi"].store.close()
    check_files(folder)


def check_files(folder: Path) -> None:
    kept = b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
    assert b"web-3" in kept
    for secret in (SECRET, SSH_KEY.split()[1], "cloud-config", "metadata-is-kept", "k" * 32):
        assert secret.encode() not in kept
        for before in range(3):
            encoded = b64encode(b"-" * before + secret.encode())
            assert encoded[4:-4] not in kept
