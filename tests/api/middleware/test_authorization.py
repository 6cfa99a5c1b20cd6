"""Authorization: every endpoint for every role, and the refusals."""

import re
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.api_harness import CREATE_BODY, UNKNOWN_ID, ApiHarness
from tests.support.audit_rows import audit_rows
from tests.support.auth_harness import AuthHarness
from tests.support.log_capture import Capture, read_logs
from vmapi.api import middleware
from vmapi.domain.access.api_token import generate_token
from vmapi.errors import StoreUnavailable
from vmapi.settings.settings import Settings
from vmapi.store.audit.repository import AuditRepository
from vmapi.telemetry.logging import configure

OPEN = [
    *("get_health", "get_livez", "get_readyz", "openapi"),
    *("docs_page", "slashed_docs_page", "docs_asset", "graphiql_page", "graphiql_asset"),
    *("index", "base_index", "slashed_base_index"),
    *("list_problems", "get_problem", "reference_page"),
]
READS = [
    *("list_vms", "get_vm", "get_vm_status", "get_vm_console", "list_operations", "get_operation"),
    *("list_flavors", "list_images", "list_networks", "listen_to_events", "get_quota"),
    *("query_graphql", "execute_graphql"),
]
CHANGES = [
    *("create_vm", "update_vm", "delete_vm", "act_on_vms"),
    *("start_vm", "stop_vm", "restart_vm", "pause_vm", "resume_vm"),
]
MAY = {
    None: set(OPEN),
    "viewer": {*OPEN, *READS},
    "operator": {*OPEN, *READS, *CHANGES},
    "admin": {*OPEN, *READS, *CHANGES, "list_audit"},
}
ON_A_VM = [
    *(("GET", f"/vms/{{}}{below}") for below in ("", "/status", "/console")),
    *(
        ("POST", f"/vms/{{}}/{action}")
        for action in ("start", "stop", "restart", "pause", "resume")
    ),
    *((method, "/vms/{}") for method in ("PATCH", "DELETE")),
]
FILLED = {"vm_id": UNKNOWN_ID, "operation_id": UNKNOWN_ID, "code": "forbidden", "name": "init.js"}


@pytest.fixture
def auth_harness(harness: ApiHarness) -> AuthHarness:
    return AuthHarness(harness)


def list_endpoints(app: Flask) -> dict[str, tuple[str, str]]:
    """Return the method and the path of each endpoint."""
    endpoints = {}
    for rule in app.url_map.iter_rules():
        (method,) = (rule.methods or set()) - {"HEAD", "OPTIONS"}
        path = re.sub(r"<(\w+:)?(\w+)>", lambda parameter: FILLED[parameter[2]], rule.rule)
        endpoints[rule.endpoint.rpartition(".")[2]] = (method, path)
    return endpoints


def refusal_code(response: TestResponse) -> Any:
    return response.json["code"] if response.status_code in (401, 403) and response.json else None


@pytest.mark.parametrize("role", MAY)
def test_every_endpoint_enforces_its_role(auth_harness: AuthHarness, role: str | None) -> None:
    token = None if role is None else auth_harness.create_token(role)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    refused = "unauthenticated" if role is None else "forbidden"
    endpoints = list_endpoints(auth_harness.harness.app)
    # every endpoint must be listed in this test
    assert set(endpoints) == MAY["admin"]
    for name, (method, path) in endpoints.items():
        response = auth_harness.client.open(path, method=method, headers=headers)
        assert refusal_code(response) == (None if name in MAY[role] else refused), name
        # the event stream never ends
        response.close()


def test_endpoint_without_permission_stops_the_start() -> None:
    app = Flask("bare", static_folder=None)
    app.add_url_rule("/vms", "list_vms", lambda: "")
    with pytest.raises(TypeError, match=r"list_vms declares no permission: use @blp.requires"):
        middleware.install(app, Settings(log_level="CRITICAL"), single_process_backend=False)


def test_authorization_precedes_body_parsing(auth_harness: AuthHarness) -> None:
    for body in ({"data": "{"}, {"data": b"x" * 2_000_000}, {"json": {"a": 1}}):
        assert auth_harness.call("POST", "/vms", **body).status_code == 401
        assert (
            auth_harness.call(
                "POST", "/vms", auth_harness.create_token("viewer"), **body
            ).status_code
            == 403
        )


def test_unknown_url_is_404_without_token(auth_harness: AuthHarness) -> None:
    assert auth_harness.call("GET", "/nothing").status_code == 404
    assert auth_harness.call("DELETE", "/flavors").status_code == 405
    assert auth_harness.call("OPTIONS", "/vms").status_code == 200


def test_403_names_the_required_role(auth_harness: AuthHarness) -> None:
    response = auth_harness.call(
        "POST", "/vms", auth_harness.create_token("viewer"), json=CREATE_BODY
    )
    assert response.status_code == 403
    assert response.json["detail"] == "This needs the role operator; ci has viewer."
    assert response.json["role_needed"] == "operator"
    assert "WWW-Authenticate" not in response.headers


def test_403_is_audited_and_401_is_not(auth_harness: AuthHarness) -> None:
    token = auth_harness.create_token("viewer")
    before = len(audit_rows(auth_harness.harness.app))
    auth_harness.call("POST", "/vms", json=CREATE_BODY)
    auth_harness.call("GET", "/vms", generate_token())
    assert len(audit_rows(auth_harness.harness.app)) == before
    headers = {"X-Request-ID": "mine", "Idempotency-Key": "\x7f"}
    auth_harness.call("POST", f"/vms/{UNKNOWN_ID}/stop", token, headers=headers)
    (entry,) = audit_rows(auth_harness.harness.app)[before:]
    assert (entry.user, entry.project, entry.address) == ("ci", "web", "127.0.0.1")
    assert (entry.action, entry.vm_id, entry.operation_id) == ("stop_vm", UNKNOWN_ID, None)
    assert (entry.request_id, entry.outcome, entry.code) == ("mine", "refused", "forbidden")


@pytest.mark.parametrize(
    ("vm_id", "audited"),
    [
        (UNKNOWN_ID, UNKNOWN_ID),
        ("ABCDEF00-0000-4000-8000-000000000000", "abcdef00-0000-4000-8000-000000000000"),
        ("x", None),
        ("%00", None),
        (f"{UNKNOWN_ID}0", None),
        (f"{UNKNOWN_ID[:-1]}%00", None),
        (f"{UNKNOWN_ID[:-1]}é", None),
        ("x" * 17_500, None),
    ],
)
def test_refused_call_is_audited_with_a_uuid_only(
    auth_harness: AuthHarness, vm_id: str, audited: str | None
) -> None:
    viewer = auth_harness.create_token("viewer")
    assert auth_harness.call("DELETE", f"/vms/{vm_id}", viewer).status_code == 403
    entry = audit_rows(auth_harness.harness.app)[-1]
    assert (entry.action, entry.outcome, entry.vm_id) == ("delete_vm", "refused", audited)


def test_403_survives_audit_failure(
    auth_harness: AuthHarness, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def raise_unavailable(*_: object) -> None:
        raise StoreUnavailable("away")

    token = auth_harness.create_token("viewer")
    monkeypatch.setattr(AuditRepository, "add", raise_unavailable)
    configure("ERROR")
    assert auth_harness.call("POST", "/vms", token, json=CREATE_BODY).status_code == 403
    assert [line["action"] for line in read_logs(capsys)] == ["create_vm"]


def test_operation_and_audit_name_the_user(auth_harness: AuthHarness) -> None:
    created = auth_harness.call(
        "POST", "/vms", auth_harness.create_token("operator"), json=CREATE_BODY
    )
    assert created.status_code == 201, created.text
    operation = auth_harness.call("GET", "/operations", auth_harness.create_token("viewer")).json[
        "items"
    ][0]
    assert operation["requested_by"] == "ci"
    entries = audit_rows(auth_harness.harness.app)
    assert {(row.user, row.project) for row in entries if row.action == "create"} == {("ci", "web")}


def test_log_names_the_user_but_not_the_token(auth_harness: AuthHarness, capsys: Capture) -> None:
    token = auth_harness.create_token("viewer")
    configure("DEBUG")
    auth_harness.call("GET", "/vms", token)
    auth_harness.call("GET", "/vms", generate_token())
    lines = read_logs(capsys)
    assert [(line["status"], line["user"]) for line in lines] == [(200, "ci"), (401, "anonymous")]
    assert "vmapi_" not in str(lines)


def test_idempotency_keys_are_separate_for_each_user(auth_harness: AuthHarness) -> None:
    headers = {"Idempotency-Key": "k"}
    for subject, status in (("ci", 201), ("cd", 201)):
        token = auth_harness.create_token("operator", subject)
        body = {**CREATE_BODY, "name": f"of-{subject}"}
        assert (
            auth_harness.call("POST", "/vms", token, json=body, headers=headers).status_code
            == status
        )


SEEN = [("viewer", "web", 1), ("operator", "db", 0), ("admin", "web", 1), ("admin", "db", 1)]


@pytest.mark.parametrize(("role", "project", "seen"), SEEN)
def test_callers_see_their_project_and_admins_all(
    auth_harness: AuthHarness, role: str, project: str, seen: int
) -> None:
    created = auth_harness.call(
        "POST", "/vms", auth_harness.create_token("operator", project="web"), json=CREATE_BODY
    )
    assert created.status_code == 201, created.text
    token = auth_harness.create_token(role, project=project)
    assert auth_harness.call("GET", "/vms", token).json["total"] == seen
    assert auth_harness.call("GET", "/operations", token).json["total"] == seen
    response = auth_harness.call("GET", f"/vms/{created.json['id']}", token)
    assert response.status_code == (200 if seen else 404)


@pytest.mark.parametrize(("method", "path"), sorted(ON_A_VM))
def test_vm_of_another_project_is_404_for_every_role(
    auth_harness: AuthHarness, method: str, path: str
) -> None:
    created = auth_harness.call(
        "POST", "/vms", auth_harness.create_token("operator", project="web"), json=CREATE_BODY
    ).json
    for role in ("viewer", "operator"):
        token = auth_harness.create_token(role, project="db")
        responses = [
            auth_harness.call(
                method, path.format(vm_id), token, **({"json": {}} if method == "PATCH" else {})
            )
            for vm_id in (created["id"], UNKNOWN_ID)
        ]
        results = [(response.status_code, refusal_code(response)) for response in responses]
        assert results[0] == results[1]
        assert results[0][0] in ((403,) if role == "viewer" and method != "GET" else (404, 422))
