"""A second server with the operation tag of a create: vmapi deletes and audits it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.live.api_script import RUN_LABEL, ApiScript, wait_for
from tests.support.live.gunicorn_server import GunicornServer, serve_gunicorn

DUPLICATE_TIMEOUT = 90.0
"""Seconds for a full sync, one a minute, and the delete."""

pytestmark = pytest.mark.live


@pytest.fixture
def served(tmp_path: Path, cloud_settings: Any) -> Iterator[GunicornServer]:
    with serve_gunicorn(tmp_path) as server:
        yield server


def test_duplicate_is_deleted_and_audited(served: GunicornServer, owner: Any) -> None:
    script = ApiScript(served.send, f"{RUN_LABEL}-twice")
    try:
        response = script.request_vm(start=True)
        create = script.wait_until_finished(response)
        vm_id = response.body["id"]
        duplicate_id = create_duplicate(owner, vm_id, create["id"])
        script.created_vm_ids.append(duplicate_id)
        wait_for(
            lambda: not list(owner.compute.servers(name=f"^{script.vm_name('twin')}$")),
            DUPLICATE_TIMEOUT,
        )
        script.wait_until_deleted(duplicate_id)
        path = f"/operations?vm_id={duplicate_id}"
        (delete,) = wait_for(lambda: all_finished(script.get(path)["items"]))
        expected = ("delete", "succeeded", "vmapi")
        assert (delete["action"], delete["status"], delete["requested_by"]) == expected
        entries = script.get(f"/audit?vm_id={duplicate_id}")["items"]
        assert [(entry["user"], entry["action"], entry["outcome"]) for entry in entries] == [
            ("vmapi", "delete", outcome) for outcome in ("succeeded", "accepted")
        ]
        assert script.get_vm(vm_id, refresh=True)["status"] == "RUNNING"
        assert script.get(f"/operations?vm_id={vm_id}")["items"] == [create]
    finally:
        script.delete_created_vms()


def create_duplicate(owner: Any, vm_id: str, operation_id: str) -> str:
    """Create a server with the operation tag of another, and return its id."""
    first = owner.compute.get(f"/servers/{vm_id}").json()["server"]
    tags = owner.compute.get(f"/servers/{vm_id}/tags", microversion="2.26").json()["tags"]
    assert tags == [f"vmapi.operation.{operation_id}"]
    body = {
        "name": first["name"].replace("-vm", "-twin"),
        "imageRef": first["image"]["id"],
        "flavorRef": first["flavor"]["id"],
        "networks": "auto",
        "tags": tags,
    }
    response = owner.compute.post("/servers", json={"server": body}, microversion="2.52")
    assert response.status_code == 202, response.text
    return str(response.json()["server"]["id"])


def all_finished(operations: list[Any]) -> list[Any]:
    """Return the operations if all have finished, else an empty list."""
    return operations if all(operation["finished_at"] for operation in operations) else []
