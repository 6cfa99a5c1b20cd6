"""Changes by callers with Keystone tokens: the first call uses the token."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests_mock
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.api_harness import BASE, CREATE_BODY, ApiHarness
from tests.support.auth_harness import AuthHarness
from tests.support.blocking_source import wait_until
from tests.support.fake_clock import Clock
from vmapi import errors
from vmapi.backends.base import AcceptedAction
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.catalog import Network
from vmapi.domain.identity import CallerToken
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import CreateSpec, VMPatch
from vmapi.services.operations import delegated as first_calls
from vmapi.settings.memory import parse_latency

URL = "https://keystone.example.org/v3"
ALICE, BOB = "gAAAAABalice-token", "gAAAAABbob-token"
PROJECTS = {ALICE: "p-a", BOB: "p-b"}


class DelegatingCloud(MemoryBackend):
    """Records the tokens of changes, and refuses the configured ones."""

    def __init__(self, clock: Clock, latency: str) -> None:
        super().__init__(clock=clock, sleep=clock.sleep, latency=parse_latency(latency))
        self.caller_tokens: list[str | None] = []
        self.refusal: errors.VmapiError | None = None

    def create_vm(
        self, spec: CreateSpec, operation_id: str, *, caller_token: CallerToken | None = None
    ) -> AcceptedAction:
        self._hear(caller_token)
        return super().create_vm(spec, operation_id)

    def perform_action(
        self, vm_id: str, verb: Verb, *, caller_token: CallerToken | None = None
    ) -> AcceptedAction:
        self._hear(caller_token)
        return super().perform_action(vm_id, verb)

    def update_vm(
        self, vm_id: str, changes: VMPatch, *, caller_token: CallerToken | None = None
    ) -> None:
        self._hear(caller_token)
        super().update_vm(vm_id, changes)

    def _hear(self, on_behalf: CallerToken | None) -> None:
        self.caller_tokens.append(on_behalf.value if on_behalf else None)
        if self.refusal is not None:
            raise self.refusal


@pytest.fixture
def backend(clock: Clock, latency: str) -> DelegatingCloud:
    return DelegatingCloud(clock, latency)


@pytest.fixture
def keystone(requests_mock: requests_mock.Mocker) -> None:
    for token, project in PROJECTS.items():
        about = {
            "user": {"id": f"user-{project}"},
            "project": {"id": project},
            "roles": [{"name": "member"}],
            "expires_at": "2126-02-25T00:00:00.000000Z",
        }
        subject_header = {"X-Subject-Token": token}
        requests_mock.get(
            f"{URL}/auth/tokens", request_headers=subject_header, json={"token": about}
        )


@pytest.fixture
def auth_harness(keystone: None, harness: ApiHarness) -> AuthHarness:
    return AuthHarness(harness, auth=("token", "keystone"), keystone_url=URL)


def send_change(
    auth_harness: AuthHarness, method: str, path: str, body: Any = None, token: str = ALICE
) -> TestResponse:
    kwargs = {} if body is None else {"json": body}
    return auth_harness.call(method, path, headers={"X-Auth-Token": token}, **kwargs)


def create_running_vm(
    auth_harness: AuthHarness, backend: DelegatingCloud, name: str = "web-1", token: str = ALICE
) -> str:
    response = send_change(
        auth_harness, "POST", "/vms", {**CREATE_BODY, "name": name, "start": True}, token
    )
    assert response.status_code == 201
    backend.caller_tokens.clear()
    return str(response.json["id"])


def test_first_call_uses_caller_token(auth_harness: AuthHarness, backend: DelegatingCloud) -> None:
    vm_id = create_running_vm(auth_harness, backend)
    for method, path, body in (
        ("POST", f"/vms/{vm_id}/restart", None),
        ("POST", f"/vms/{vm_id}/pause", None),
        ("PATCH", f"/vms/{vm_id}", {"metadata": {"a": "1"}}),
        ("DELETE", f"/vms/{vm_id}", None),
    ):
        assert send_change(auth_harness, method, path, body).status_code in (200, 204)
    assert backend.caller_tokens == [ALICE] * 4


def test_later_calls_use_token_of_vmapi(
    auth_harness: AuthHarness, backend: DelegatingCloud
) -> None:
    assert send_change(auth_harness, "POST", "/vms", CREATE_BODY).json["status"] == "STOPPED"
    assert backend.caller_tokens == [ALICE, None]
    vm_id = create_running_vm(auth_harness, backend, "web-2")
    send_change(auth_harness, "POST", f"/vms/{vm_id}/pause")
    send_change(auth_harness, "POST", f"/vms/{vm_id}/stop")
    assert backend.caller_tokens == [ALICE, ALICE, None]


def test_keystone_bearer_token_is_a_caller_token(
    auth_harness: AuthHarness, backend: DelegatingCloud
) -> None:
    assert (
        auth_harness.call("POST", "/vms", ALICE, json={**CREATE_BODY, "start": True}).status_code
        == 201
    )
    assert backend.caller_tokens == [ALICE]


def test_other_credentials_are_not_caller_tokens(
    auth_harness: AuthHarness, backend: DelegatingCloud
) -> None:
    token = auth_harness.create_token("operator", project="p-a")
    response = auth_harness.call("POST", "/vms", token, json={**CREATE_BODY, "start": True})
    assert response.status_code == 201
    assert auth_harness.call("POST", f"/vms/{response.json['id']}/stop", token).status_code == 200
    assert backend.caller_tokens == [None, None]


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (errors.Unauthenticated("not taken", credentials_sent=True), 401),
        (errors.Forbidden("The cloud refuses: Policy"), 403),
        (errors.QuotaExceeded("The cloud refuses: Quota"), 403),
    ],
    ids=["unauthenticated", "forbidden", "quota_exceeded"],
)
@pytest.mark.parametrize("action", ["create", "stop"])
def test_refusal_by_the_cloud_reaches_the_caller(
    auth_harness: AuthHarness,
    backend: DelegatingCloud,
    refusal: errors.VmapiError,
    status: int,
    action: str,
) -> None:
    vm_id = create_running_vm(auth_harness, backend)
    backend.refusal = refusal
    path, body = ("/vms", {**CREATE_BODY, "name": "web-2"})
    if action == "stop":
        path, body = (f"/vms/{vm_id}/stop", None)
    response = send_change(auth_harness, "POST", path, body)
    assert (response.status_code, response.json["code"]) == (status, refusal.code)
    if status == 401:
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="vmapi", error="invalid_token"'
    operation = send_change(auth_harness, "GET", f"/operations?action={action}&status=failed").json[
        "items"
    ][0]
    assert operation["error"]["code"] == refusal.code
    assert backend.caller_tokens == [ALICE]
    backend.refusal = None
    assert send_change(auth_harness, "GET", f"/vms/{vm_id}").json["status"] == "RUNNING"
    assert send_change(auth_harness, "GET", "/vms").json["total"] == 1
    # the name, the key and the VM are free for another attempt
    assert send_change(auth_harness, "POST", path, body).status_code in (200, 201)


# Bulk actions


def post_bulk(auth_harness: AuthHarness, ids: list[str]) -> list[Any]:
    response = send_change(auth_harness, "POST", "/vms/actions", {"action": "stop", "ids": ids})
    assert response.status_code == 202
    return list(response.json["items"])


def finished_operations(auth_harness: AuthHarness, items: list[Any]) -> list[Any]:
    """Return the operations of a bulk request when all are finished."""
    ids = [item["operation"]["id"] for item in items]

    def operations() -> list[Any]:
        return [
            send_change(auth_harness, "GET", f"/operations/{operation_id}").json
            for operation_id in ids
        ]

    wait_until(lambda: all(operation["finished_at"] for operation in operations()))
    return operations()


def test_bulk_uses_caller_token(auth_harness: AuthHarness, backend: DelegatingCloud) -> None:
    ids = [create_running_vm(auth_harness, backend, f"web-{n}") for n in range(12)]
    foreign = create_running_vm(auth_harness, backend, "theirs", BOB)
    items = post_bulk(auth_harness, [*ids, foreign])
    assert items.pop()["error"]["code"] == "vm_not_found"
    assert {operation["status"] for operation in finished_operations(auth_harness, items)} == {
        "succeeded"
    }
    assert backend.caller_tokens == [ALICE] * 12


@pytest.mark.parametrize("latency", ["stop=5"])
def test_engine_continues_started_operations(
    auth_harness: AuthHarness, harness: ApiHarness, backend: DelegatingCloud
) -> None:
    items = post_bulk(auth_harness, [create_running_vm(auth_harness, backend)])
    wait_until(lambda: bool(backend.caller_tokens))
    wait_until(lambda: harness.services.operations.list_leased()[0].is_awaiting_outcome)
    harness.run_until_settled()
    assert finished_operations(auth_harness, items)[0]["status"] == "succeeded"
    assert backend.caller_tokens == [ALICE]


def test_engine_does_not_start_delegated_operations(
    auth_harness: AuthHarness,
    harness: ApiHarness,
    backend: DelegatingCloud,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(first_calls.ThreadPoolExecutor, "submit", lambda *_: None)
    vm_id = create_running_vm(auth_harness, backend)
    (item,) = post_bulk(auth_harness, [vm_id])
    # an operation that waits for its start is leased: no engine runs it
    harness.reconcile_once()
    assert (
        send_change(auth_harness, "GET", f"/operations/{item['operation']['id']}").json["status"]
        == "pending"
    )
    assert backend.caller_tokens == []
    # the process of the operations has died
    harness.services.store.operations.release(item["operation"]["id"])
    harness.reconcile_once()
    (operation,) = finished_operations(auth_harness, [item])
    assert (operation["status"], operation["error"]["code"]) == ("failed", "backend_unavailable")
    assert operation["error"]["detail"] == "vmapi died before this was sent; send it again."
    assert backend.caller_tokens == []
    assert send_change(auth_harness, "GET", f"/vms/{vm_id}").json["task"] is None


def test_operation_during_shutdown_is_left_unstarted(
    auth_harness: AuthHarness, harness: ApiHarness, backend: DelegatingCloud
) -> None:
    ids = [create_running_vm(auth_harness, backend, f"web-{n}") for n in range(2)]
    harness.services.operations.stop()
    items = post_bulk(auth_harness, ids)
    for item in items:
        harness.services.store.operations.release(item["operation"]["id"])
    harness.reconcile_once()
    details = {
        operation["error"]["detail"] for operation in finished_operations(auth_harness, items)
    }
    assert details == {"vmapi died before this was sent; send it again."}
    assert backend.caller_tokens == []


def test_later_refusal_is_the_error_of_the_operation(
    auth_harness: AuthHarness, backend: DelegatingCloud
) -> None:
    items = [create_running_vm(auth_harness, backend)]
    backend.refusal = errors.Unauthenticated("not taken", credentials_sent=True)
    (operation,) = finished_operations(auth_harness, post_bulk(auth_harness, items))
    assert (operation["status"], operation["error"]["code"]) == ("failed", "unauthenticated")


# The visible catalog


def test_networks_of_other_projects_are_hidden(
    auth_harness: AuthHarness, backend: DelegatingCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = backend.list_networks()
    foreign = Network("n-b", "theirs", projects=frozenset({"p-b"}))
    monkeypatch.setattr(backend, "list_networks", lambda **_: [*own, foreign])
    names = [
        {n["name"] for n in send_change(auth_harness, "GET", "/networks", token=t).json["items"]}
        for t in PROJECTS
    ]
    assert names == [{"private", "public"}, {"private", "public", "theirs"}]
    response = send_change(auth_harness, "POST", "/vms", {**CREATE_BODY, "network": "theirs"})
    assert (response.status_code, response.json["code"]) == (422, "network_not_found")
    assert backend.caller_tokens == []


# Secrecy of the token


def test_caller_token_is_in_no_log_response_or_database(
    keystone: None,
    serve_app: Callable[..., Flask],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "database"
    app = serve_app(
        auth=("keystone",),
        keystone_url=URL,
        database_url=f"sqlite:///{folder}/vmapi.sqlite3",
        log_level="DEBUG",
        audit_key="k" * 32,
    )
    client, headers = app.test_client(), {"X-Auth-Token": ALICE, "Idempotency-Key": "k-1"}
    responses_so_far: list[TestResponse] = []

    def send(method: str, path: str, **more: Any) -> Any:
        responses_so_far.append(client.open(BASE + path, method=method, headers=headers, **more))
        return responses_so_far[-1].json

    vm_id = send("POST", "/vms", json=CREATE_BODY)["id"]
    headers.pop("Idempotency-Key")
    send("POST", f"/vms/{vm_id}/start")
    send("POST", "/vms/actions", json={"action": "stop", "ids": [vm_id]})
    wait_until(lambda: send("GET", f"/vms/{vm_id}")["task"] is None)
    app.extensions["vmapi"].backend.driver.perform_action = None
    send("DELETE", f"/vms/{vm_id}")
    assert responses_so_far[-1].status_code == 500
    send("GET", "/operations")
    app.extensions["vmapi"].periodic_tasks["maintenance"]()
    database = b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
    out = "".join(capfd.readouterr())
    assert vm_id.encode() in database
    assert "Traceback" in out
    response_texts = "".join(f"{response.headers}{response.text}" for response in responses_so_far)
    assert ALICE.encode() not in database
    assert ALICE not in out + response_texts
