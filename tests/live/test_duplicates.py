"""A second server with the operation tag of a create: vmapi deletes a true duplicate only."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.live.api_script import RUN_LABEL, ApiScript, wait_for
from tests.support.live.gunicorn_server import GunicornServer, serve_gunicorn
from tests.support.live.nova_proxy import NovaProxy

FULL_SYNC_SECONDS = 75.0
"""Seconds until a full sync has seen a server, with one a minute."""

DUPLICATE_TIMEOUT = 240.0
"""Seconds for a full sync, one a minute, and the delete."""

pytestmark = pytest.mark.live


@pytest.fixture
def served(tmp_path: Path, cloud_settings: Any) -> Iterator[GunicornServer]:
    with serve_gunicorn(tmp_path) as server:
        yield server


def test_server_with_a_copied_tag_lives(served: GunicornServer, owner: Any) -> None:
    script = ApiScript(served.send, f"{RUN_LABEL}-copied")
    try:
        response = script.request_vm(start=True)
        create = script.wait_until_finished(response)
        vm_id = response.body["id"]
        # not even all that the create ordered is proof once the create has its response
        for name in (script.vm_name("copied"), response.body["name"]):
            script.created_vm_ids.append(create_tagged(owner, vm_id, create["id"], name))
        time.sleep(FULL_SYNC_SECONDS)
        for copied_id in script.created_vm_ids:
            assert script.get_vm(copied_id, refresh=True)["status"] == "RUNNING"
        assert script.get("/operations?action=delete")["items"] == []
        assert script.get(f"/operations?vm_id={vm_id}")["items"] == [create]
    finally:
        script.delete_created_vms()


def test_duplicate_of_a_lost_create_is_deleted_and_audited(
    impatient_script: ApiScript, proxy: NovaProxy, owner: Any
) -> None:
    script = impatient_script
    with proxy.inject_fault("POST", "/servers$", is_lost=True):
        response = script.request_vm(start=True)
    create = script.wait_until_finished(response)
    vm_id = create["vm_id"]
    copied_id = create_tagged(owner, vm_id, create["id"], script.vm_name("copied"))
    duplicate_id = create_tagged(owner, vm_id, create["id"], script.get_vm(vm_id)["name"])
    script.created_vm_ids += [vm_id, copied_id, duplicate_id]
    path = f"/operations?vm_id={duplicate_id}"
    (delete,) = wait_for(lambda: all_finished(script.get(path)["items"]), DUPLICATE_TIMEOUT)
    expected = ("delete", "succeeded", "vmapi")
    assert (delete["action"], delete["status"], delete["requested_by"]) == expected
    script.wait_until_deleted(duplicate_id)
    entries = script.get(f"/audit?vm_id={duplicate_id}")["items"]
    assert [(entry["user"], entry["action"], entry["outcome"]) for entry in entries] == [
        ("vmapi", "delete", outcome) for outcome in ("succeeded", "accepted")
    ]
    for live_id in (vm_id, copied_id):
        assert script.get_vm(live_id, refresh=True)["status"] == "RUNNING"


def create_tagged(owner: Any, vm_id: str, operation_id: str, name: str) -> str:
    """Create a server like another, with its operation tag, and return its id."""
    first = owner.compute.get(f"/servers/{vm_id}").json()["server"]
    tags = owner.compute.get(f"/servers/{vm_id}/tags", microversion="2.26").json()["tags"]
    assert tags == [f"vmapi.operation.{operation_id}"]
    body = {
        "name": name,
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
