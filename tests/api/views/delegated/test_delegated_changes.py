"""Changes by callers with Keystone tokens: the first call uses the token."""

import pytest

from tests.support.api_harness import CREATE_BODY
from tests.support.auth_harness import AuthHarness
from tests.support.delegated_calls import (
    ALICE,
    PROJECTS,
    DelegatingCloud,
    create_running_vm,
    send_change,
)
from vmapi import errors
from vmapi.domain.catalog import Network


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
