"""The token of a caller is in no log, response or database."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.api_harness import BASE, CREATE_BODY
from tests.support.blocking_source import wait_until
from tests.support.delegated_calls import (
    ALICE,
    URL,
)


def send_requests(app: Flask) -> list[TestResponse]:
    """Change a VM in all ways with the token, the last time with a defect of the server."""
    client, headers = app.test_client(), {"X-Auth-Token": ALICE, "Idempotency-Key": "k-1"}
    responses: list[TestResponse] = []

    def send(method: str, path: str, **more: Any) -> Any:
        responses.append(client.open(BASE + path, method=method, headers=headers, **more))
        return responses[-1].json

    vm_id = send("POST", "/vms", json=CREATE_BODY)["id"]
    headers.pop("Idempotency-Key")
    send("POST", f"/vms/{vm_id}/start")
    send("POST", "/vms/actions", json={"action": "stop", "ids": [vm_id]})
    wait_until(lambda: send("GET", f"/vms/{vm_id}")["task"] is None)
    app.extensions["vmapi"].backend.driver.perform_action = None
    send("DELETE", f"/vms/{vm_id}")
    assert responses[-1].status_code == 500
    send("GET", "/operations")
    return responses


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
    responses = send_requests(app)
    app.extensions["vmapi"].periodic_tasks["maintenance"]()
    database = b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
    out = "".join(capfd.readouterr())
    assert responses[0].json["id"].encode() in database
    assert "Traceback" in out
    response_texts = "".join(f"{response.headers}{response.text}" for response in responses)
    assert ALICE.encode() not in database
    assert ALICE not in out + response_texts
