"""A second server with the mark of a create: vmapi deletes it, and says so."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.live.api_script import RUN_LABEL, ApiScript, wait_for
from tests.support.live.gunicorn_server import GunicornServer, serve_gunicorn

SWEPT = 90.0
"""Seconds: a look at everything each minute, and the delete."""

pytestmark = pytest.mark.live


@pytest.fixture
def served(tmp_path: Path, cloud_settings: Any) -> Iterator[GunicornServer]:
    with serve_gunicorn(tmp_path) as server:
        yield server


def test_it_is_deleted_and_on_record(served: GunicornServer, owner: Any) -> None:
    script = ApiScript(served.send, f"{RUN_LABEL}-twice")
    try:
        made = script.request_vm(start=True)
        create = script.wait_until_finished(made)
        vm_id = made.body["id"]
        double = duplicate(owner, vm_id, create["id"])
        script.created_vm_ids.append(double)
        wait_for(
            lambda: not list(owner.compute.servers(name=f"^{script.vm_name('twin')}$")),
            SWEPT,
        )
        script.wait_until_deleted(double)
        asked = f"/operations?vm_id={double}"
        (delete,) = wait_for(lambda: finished(script.get(asked)["items"]))
        expected = ("delete", "succeeded", "vmapi")
        assert (delete["action"], delete["status"], delete["requested_by"]) == expected
        written = script.get(f"/audit?vm_id={double}")["items"]
        assert [(each["user"], each["action"], each["outcome"]) for each in written] == [
            ("vmapi", "delete", outcome) for outcome in ("succeeded", "accepted")
        ]
        assert script.get_vm(vm_id, refresh=True)["status"] == "RUNNING"
        assert script.get(f"/operations?vm_id={vm_id}")["items"] == [create]
    finally:
        script.delete_created_vms()


def duplicate(owner: Any, vm_id: str, operation_id: str) -> str:
    """Have a server made with the tag of the create of another, and return its id."""
    first = owner.compute.get(f"/servers/{vm_id}").json()["server"]
    tags = owner.compute.get(f"/servers/{vm_id}/tags", microversion="2.26").json()["tags"]
    assert tags == [f"vmapi.operation.{operation_id}"]
    order = {
        "name": first["name"].replace("-vm", "-twin"),
        "imageRef": first["image"]["id"],
        "flavorRef": first["flavor"]["id"],
        "networks": "auto",
        "tags": tags,
    }
    response = owner.compute.post("/servers", json={"server": order}, microversion="2.52")
    assert response.status_code == 202, response.text
    return str(response.json()["server"]["id"])


def finished(operations: list[Any]) -> list[Any]:
    """Return them once all are over."""
    return operations if all(each["finished_at"] for each in operations) else []
