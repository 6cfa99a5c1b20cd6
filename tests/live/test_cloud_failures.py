"""What the real cloud refuses and fails at: room, quotas, credentials."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import requests

from tests.support.live.api_response import ApiResponse
from tests.support.live.api_script import ApiScript, serve_app, wait_for
from tests.support.live.devcloud_services import flush_token_caches
from tests.support.live.nova_proxy import NovaProxy, write_clouds_file
from vmapi.settings.settings import Settings

READERS = 16

pytestmark = pytest.mark.live


def test_no_host_has_room(script: ApiScript, admin: Any) -> None:
    flavor = admin.compute.create_flavor(
        name=script.vm_name("huge"), vcpus=1, ram=2**30, disk=1, is_public=True
    )
    try:
        made = script.request_vm(flavor=flavor.id, start=True)
        assert made.status in (201, 202)
        operation = script.wait_until_finished(made)
        assert (operation["status"], operation["error"]["code"]) == ("failed", "no_capacity")
        assert operation["error"]["status"] == 503
        vm = script.get_vm(made.body["id"])
        assert (vm["status"], vm["task"], vm["backend_status"]) == ("ERROR", None, "ERROR")
        assert (vm["flavor"], vm["allowed_actions"]) == (flavor.name, ["delete"])
        assert vm["fault"]["code"] == "no_capacity"
        assert vm["fault"]["message"].startswith("No valid host was found")
        assert "smaller flavor" in vm["fault"]["hint"]
        assert vm["addresses"] == []
        script.assert_refused(409, "invalid_state", "GET", f"/vms/{vm['id']}/console")
        script.delete_created_vms()
    finally:
        admin.compute.delete_flavor(flavor)
    script.assert_refused(
        422, "flavor_not_found", "POST", "/vms", script.create_body(flavor=flavor.id)
    )


def test_a_quota_that_is_used_up(script: ApiScript, owner: Any, admin: Any) -> None:
    project, wanted = owner.current_project_id, script.create_body()
    # none at all is what is used at the moment, or less: others may come and go meanwhile
    for limit in (compute_quota(admin, project, "instances"), port_quota(admin, project)):
        with limit:
            problem = script.assert_refused(403, "quota_exceeded", "POST", "/vms", wanted)
        assert problem["detail"].startswith("The cloud refuses: ")
        (operation,) = script.get("/operations?action=create&page_size=1")["items"]
        assert (operation["status"], operation["vm_id"]) == ("failed", None)
        assert operation["error"]["code"] == "quota_exceeded"
    assert script.get(f"/vms?name={wanted['name']}")["total"] == 0
    made = script.request_vm(start=True)
    assert script.wait_until_finished(made)["status"] == "succeeded"


@contextmanager
def compute_quota(admin: Any, project: str, kind: str) -> Iterator[None]:
    """Set a quota of Nova to nothing while the block lasts."""
    path = f"/os-quota-sets/{project}"
    before = admin.compute.get(path).json()["quota_set"][kind]
    for_now = {"quota_set": {kind: 0, "force": True}}
    assert admin.compute.put(path, json=for_now).status_code == 200
    try:
        yield
    finally:
        after = {"quota_set": {kind: before, "force": True}}
        assert admin.compute.put(path, json=after).status_code == 200


@contextmanager
def port_quota(admin: Any, project: str) -> Iterator[None]:
    """Set the quota of ports to nothing while the block lasts."""
    path = f"/quotas/{project}"
    before = admin.network.get(path).json()["quota"]["port"]
    assert admin.network.put(path, json={"quota": {"port": 0}}).status_code == 200
    try:
        yield
    finally:
        assert admin.network.put(path, json={"quota": {"port": before}}).status_code == 200


def test_a_token_that_is_revoked_under_readers(
    proxied_script: ApiScript, proxy: NovaProxy, owner: Any, devcloud: str
) -> None:
    vm_id = proxied_script.create_running_vm()
    responses: list[ApiResponse] = []
    done = Event()

    def read() -> None:
        while not done.is_set():
            responses.append(proxied_script.send("GET", f"/api/v1/vms/{vm_id}", None))

    readers = [Thread(target=read) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(2):
            before, token = len(responses), proxy.token
            wait_for(lambda before=before: len(responses) > before + READERS)
            revoke(owner, token)
            wait_for(lambda token=token: proxy.token != token)
            before = len(responses)
            wait_for(lambda before=before: len(responses) > before + READERS)
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert {response.status for response in responses} == {200}
    # changes too are repeated after a new login, once
    revoke(owner, proxy.token)
    assert proxied_script.perform_action(vm_id, "pause")["status"] == "PAUSED"


def revoke(owner: Any, token: str) -> None:
    """Take a token back, and let nobody remember that it was good."""
    headers = {"X-Auth-Token": token, "X-Subject-Token": token}
    url = f"{owner.config.auth['auth_url']}/auth/tokens"
    assert requests.delete(url, headers=headers, timeout=30).status_code == 204
    flush_token_caches()


def test_a_wrong_password(
    cloud_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_clouds_file(tmp_path, cloud_settings.os_cloud or "", {"password": "wrong"})
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", file)
    wanted = {"name": "live-refused", "flavor": "m1.tiny", "image": "cirros"}
    nobody = "/vms/00000000-0000-4000-8000-000000000000"
    with serve_app(cloud_settings) as script:
        ready = script.call("GET", "/readyz")
        assert (ready.status, ready.body["status"]) == (200, "degraded")
        assert ready.body["dependencies"] == {"backend": "forbidden", "store": "ok"}
        for method, path, body in (
            ("GET", "/vms", None),
            ("GET", nobody, None),
            ("GET", "/flavors", None),
            ("POST", "/vms", wanted),
            ("POST", f"{nobody}/stop", None),
            ("DELETE", nobody, None),
        ):
            problem = script.assert_refused(503, "backend_unavailable", method, path, body)
            assert problem["detail"] == "The cloud refuses the credentials of vmapi."
            assert script.responses[-1].headers["Retry-After"] == "60"
        assert script.get("/operations")["items"] == []
        assert script.get("/health")["status"] == "healthy"
        assert not any("wrong" in response.text for response in script.responses)
