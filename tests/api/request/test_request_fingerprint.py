"""An Idempotency-Key is bound to the meaning of its request, not to its bytes."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.api_harness import CREATE_BODY, ApiHarness
from vmapi.api.request.fingerprint import request_fingerprint

SSH_KEY = "ssh-ed25519 " + "A" * 68
CREATE = json.dumps(CREATE_BODY)


def send(harness: ApiHarness, method: str, path: str, body: str | None) -> TestResponse:
    headers = {"Idempotency-Key": "k"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    return harness.call(method, path, data=body, headers=headers)


def check_same_request(
    harness: ApiHarness, method: str, path: str, body: str | None, *others: tuple[str, str | None]
) -> None:
    """Check that the others, each a path and a body, repeat the first request."""
    first = send(harness, method, path, body)
    assert (first.status_code, first.headers.get("Idempotent-Replayed")) < (300, "true"), first.text
    for other_path, other_body in others:
        again = send(harness, method, other_path, other_body)
        assert (again.status_code, again.headers.get("Idempotent-Replayed")) == (
            first.status_code,
            "true",
        ), (other_body, again.text)


def check_other_request(harness: ApiHarness, method: str, path: str, body: str | None) -> None:
    response = send(harness, method, path, body)
    assert (response.status_code, response.json["code"]) == (422, "idempotency_key_reused")


@dataclass(frozen=True)
class FormerBody:
    """The body of a request in one version of vmapi."""

    name: str
    size: int | None = None


@dataclass(frozen=True)
class LaterBody(FormerBody):
    """The body of the same request with the optional members of the next version."""

    zone: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    flag: bool = False


def test_added_member_with_its_default_keeps_the_fingerprint(harness: ApiHarness) -> None:
    with harness.app.test_request_context("/api/v1/vms", method="POST"):
        former = request_fingerprint(FormerBody("a", 1))
        assert request_fingerprint(LaterBody("a", 1)) == former
        others = (
            *(LaterBody("a", 1, zone="b"), LaterBody("a", 1, labels={"a": "b"})),
            *(LaterBody("a", 1, flag=True), LaterBody("a"), LaterBody("b", 1)),
        )
        fingerprints = {former, *map(request_fingerprint, others)}
    assert len(fingerprints) == 1 + len(others)


@pytest.mark.parametrize(
    ("first", "spelling"),
    [
        (CREATE_BODY, f" {CREATE}\r\n"),
        (CREATE_BODY, json.dumps(CREATE_BODY, indent=4)),
        (CREATE_BODY, json.dumps(dict(reversed(CREATE_BODY.items())))),
        (CREATE_BODY, CREATE.replace("web-1", "\\u0077eb-1")),
        *(
            (CREATE_BODY, json.dumps({**CREATE_BODY, **default}))
            for default in (
                *({"start": False}, {"metadata": {}}, {"ssh_keys": []}, {"security_groups": []}),
                {"user_data": ""},
            )
        ),
        ({"metadata": {"a": "1", "b": "é"}}, '{"metadata": {"b": "\\u00e9", "a": "1"}}'),
        ({"ssh_keys": [SSH_KEY]}, json.dumps({"ssh_keys": [SSH_KEY, SSH_KEY]})),
        (
            {"ssh_keys": [SSH_KEY, f"{SSH_KEY} me"]},
            json.dumps({"ssh_keys": [f"{SSH_KEY} me", SSH_KEY]}),
        ),
    ],
)
def test_create_in_another_spelling_is_a_repeat(
    harness: ApiHarness, first: dict[str, Any], spelling: str
) -> None:
    if not json.loads(spelling).get("name"):
        spelling = json.dumps({**CREATE_BODY, **json.loads(spelling)})
    check_same_request(
        harness, "POST", "/vms", json.dumps({**CREATE_BODY, **first}), ("/vms", spelling)
    )
    assert harness.get_json("/vms")["total"] == 1


@pytest.mark.parametrize("member", ["flavor", "image", "network"])
def test_create_with_an_id_in_another_spelling_is_a_repeat(
    harness: ApiHarness, member: str
) -> None:
    (item, *_) = harness.call("GET", f"/{member}s").json["items"]
    spellings = (item["id"], item["id"].upper(), item["id"].replace("-", ""))
    first, *others = (json.dumps({**CREATE_BODY, member: id}) for id in spellings)
    check_same_request(harness, "POST", "/vms", first, *(("/vms", other) for other in others))


@pytest.mark.parametrize("action", ["stop", "pause", "restart"])
def test_action_with_id_or_empty_body_in_another_spelling_is_a_repeat(
    harness: ApiHarness, action: str
) -> None:
    vm_id = harness.create_running()
    path, upper = f"/vms/{vm_id}/{action}", f"/vms/{vm_id.upper()}/{action}"
    misplaced = f"/vms/{vm_id.replace('-', '')}----/{action}"
    bodies = (None, "{}", " {\n} ")
    repeats = [(url, body) for url in (path, upper, misplaced) for body in bodies]
    check_same_request(harness, "POST", upper, None, *repeats)
    assert harness.get_json(f"/operations?action={action}")["total"] == 1


def test_patch_in_another_spelling_is_a_repeat(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    path, body = f"/vms/{vm_id}", '{"metadata": {"a": "1", "b": null}}'
    spelling = '{"metadata":{"b":null,"\\u0061":"1"}}'
    check_same_request(harness, "PATCH", path, body, (path.upper().lower(), spelling))


def test_delete_with_id_in_upper_case_is_a_repeat(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    check_same_request(harness, "DELETE", f"/vms/{vm_id}", "{}", (f"/vms/{vm_id.upper()}", None))


def test_bulk_in_another_spelling_is_a_repeat(harness: ApiHarness) -> None:
    ids = [harness.create_running(f"web-{number}") for number in range(2)]
    body = json.dumps({"action": "stop", "ids": ids})
    spellings = [
        json.dumps({"ids": [ids[1].upper(), *ids], "action": "stop"}),
        json.dumps({"action": "stop", "ids": ids[::-1]}, indent=1),
    ]
    check_same_request(
        harness, "POST", "/vms/actions", body, *(("/vms/actions", text) for text in spellings)
    )


def test_bulk_filter_in_another_spelling_is_a_repeat(harness: ApiHarness) -> None:
    harness.create_running()
    created_after = "2026-02-25T10:00:00Z"
    body = {
        "action": "stop",
        "filter": {"status": ["RUNNING", "ERROR"], "created_after": created_after},
    }
    spelling = {
        "filter": {
            "created_after": "2026-02-25T12:00:00.000+02:00",
            "status": ["ERROR", "RUNNING", "ERROR"],
        },
        "action": "stop",
    }
    check_same_request(
        harness, "POST", "/vms/actions", json.dumps(body), ("/vms/actions", json.dumps(spelling))
    )


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ({}, {"start": True}),
        ({}, {"metadata": {"a": "1"}}),
        ({}, {"user_data": " "}),
        ({"metadata": {"a": "1", "b": "2"}}, {"metadata": {"a": "2", "b": "1"}}),
        ({"metadata": {"a": "x"}}, {"metadata": {"a": "X"}}),
        ({"ssh_keys": [SSH_KEY]}, {"ssh_keys": [f"{SSH_KEY} me"]}),
    ],
)
def test_create_with_another_meaning_is_refused(
    harness: ApiHarness, first: dict[str, Any], other: dict[str, Any]
) -> None:
    assert send(harness, "POST", "/vms", json.dumps({**CREATE_BODY, **first})).status_code == 201
    check_other_request(harness, "POST", "/vms", json.dumps({**CREATE_BODY, **other}))


def test_change_with_another_meaning_is_refused(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    other_id = harness.create_running("web-2")
    assert send(harness, "POST", f"/vms/{vm_id}/restart", "{}").status_code == 200
    others = [
        (f"/vms/{vm_id}/restart", '{"type": "hard"}'),
        (f"/vms/{vm_id}/restart", '{"type": "soft"}'),
        (f"/vms/{other_id}/restart", "{}"),
        (f"/vms/{vm_id}/stop", "{}"),
    ]
    for path, body in others:
        check_other_request(harness, "POST", path, body)
    check_other_request(harness, "PATCH", f"/vms/{vm_id}", "{}")
    check_other_request(harness, "DELETE", f"/vms/{vm_id}", None)
