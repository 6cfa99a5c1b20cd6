"""The Python client and vmctl on a real cloud: the life of VMs, by name, selector and bulk."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.live.api_script import RUN_LABEL
from tests.support.live.gunicorn_server import serve_gunicorn
from tests.support.vmctl import Vmctl
from vmapi.settings.settings import Settings
from vmapi_client import Client
from vmapi_client.errors import InvalidState

pytestmark = pytest.mark.live

CALL_TIMEOUT = 180.0
"""Seconds for one call and its waits: a loaded Nova takes long."""


@pytest.fixture
def label() -> str:
    """The start of the names of a test, and the value of its metadata."""
    return f"{RUN_LABEL}-client-{uuid4().hex[:4]}"


@pytest.fixture
def url(cloud_settings: Settings, label: str, tmp_path: Path) -> Iterator[str]:
    """The URL of a server; the VMs of the test are deleted after it."""
    with serve_gunicorn(tmp_path) as server:
        yield server.url
        with Client(server.url, timeout=CALL_TIMEOUT) as client:
            for vm in list(client.vms.list(name=f"{label}*")):
                client.vms.delete(vm, wait=True)


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url, timeout=CALL_TIMEOUT) as client:
        yield client


@pytest.fixture
def vmctl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> Vmctl:
    return Vmctl(tmp_path, monkeypatch, capsys, url)


def test_library_and_command_line_manage_the_vms_of_a_cloud(
    client: Client, vmctl: Vmctl, label: str
) -> None:
    image = next(image for image in client.images() if image.status == "active")
    shape = {"flavor": client.flavors()[0].name, "image": image.name}
    names = [f"{label}-1", f"{label}-2"]
    first, second = (
        client.vms.create(name, **shape, metadata={"run": label}, wait=True) for name in names
    )
    assert (first.status, second.status) == ("STOPPED", "STOPPED")
    assert client.vms.start(first, wait=True).status == "RUNNING"
    with pytest.raises(InvalidState) as refused:
        client.vms.resume(first)
    assert "stop" in refused.value.allowed_actions
    listed = vmctl.succeed("list", "--selector", f"run={label}", "-o", "name")
    assert listed.lines == names
    vmctl.succeed("start", names[1], "--wait")
    vmctl.succeed("update", names[1], "--metadata", "tier=db", "--wait")
    result = client.vms.bulk("stop", client.vms.list(selector=f"run={label}"), wait=True)
    assert (result.status, result.counts.succeeded) == ("succeeded", 2)
    kinds = {event.kind for event in client.events(since="0", vm_ids=first.id, seconds=2)}
    assert {"vm.created", "operation.succeeded"} <= kinds
    vmctl.succeed("delete", "--selector", f"run={label},tier=db", "--yes", "--wait")
    assert [vm.name for vm in client.vms.list(selector=f"run={label}")] == names[:1]
