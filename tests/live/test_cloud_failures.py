"""Refusals and failures of a real cloud: capacity, quotas, credentials."""

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
FLUSH_SECONDS = 5.0
"""Seconds between two flushes of token caches: each costs Keystone all validations."""

pytestmark = pytest.mark.live


def test_create_without_a_host_has_no_capacity(script: ApiScript, admin: Any) -> None:
    flavor = admin.compute.create_flavor(
        name=script.vm_name("huge"), vcpus=1, ram=2**30, disk=1, is_public=True
    )
    try:
        created = script.request_vm(flavor=flavor.id, start=True)
        assert created.status in (201, 202)
        operation = script.wait_until_finished(created)
        assert (operation["status"], operation["error"]["code"]) == ("failed", "no_capacity")
        assert operation["error"]["status"] == 503
        vm = script.get_vm(created.body["id"])
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


def test_create_beyond_a_quota_is_refused(script: ApiScript, owner: Any, admin: Any) -> None:
    project, create_body = owner.current_project_id, script.create_body()
    # a quota of zero is below the usage, whatever other clients create and delete
    for limit in (compute_quota(admin, project, "instances"), port_quota(admin, project)):
        with limit:
            problem = script.assert_refused(403, "quota_exceeded", "POST", "/vms", create_body)
        assert problem["detail"].startswith("The cloud refuses: ")
        (operation,) = script.get("/operations?action=create&page_size=1")["items"]
        assert (operation["status"], operation["vm_id"]) == ("failed", None)
        assert operation["error"]["code"] == "quota_exceeded"
    assert script.get(f"/vms?name={create_body['name']}")["total"] == 0
    created = script.request_vm(start=True)
    assert script.wait_until_finished(created)["status"] == "succeeded"


@contextmanager
def compute_quota(admin: Any, project: str, kind: str) -> Iterator[None]:
    """Set a quota of Nova to zero for a `with` block."""
    path = f"/os-quota-sets/{project}"
    before = admin.compute.get(path).json()["quota_set"][kind]
    zero_quota = {"quota_set": {kind: 0, "force": True}}
    assert admin.compute.put(path, json=zero_quota).status_code == 200
    try:
        yield
    finally:
        restored_quota = {"quota_set": {kind: before, "force": True}}
        assert admin.compute.put(path, json=restored_quota).status_code == 200


@contextmanager
def port_quota(admin: Any, project: str) -> Iterator[None]:
    """Set the quota of ports to zero for a `with` block."""
    path = f"/quotas/{project}"
    before = admin.network.get(path).json()["quota"]["port"]
    assert admin.network.put(path, json={"quota": {"port": 0}}).status_code == 200
    try:
        yield
    finally:
        assert admin.network.put(path, json={"quota": {"port": before}}).status_code == 200


def test_revoked_token_is_renewed_during_reads(
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
            wait_for(lambda token=token: is_replaced(proxy, token), interval=FLUSH_SECONDS)
            before = len(responses)
            wait_for(lambda before=before: len(responses) > before + READERS)
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert {response.status for response in responses} == {200}
    # a change too is repeated once after a new login
    revoke(owner, proxy.token)
    assert proxied_script.perform_action(vm_id, "pause")["status"] == "PAUSED"


def is_replaced(proxy: NovaProxy, token: str) -> bool:
    """Flush the caches: Nova may store a validation that began before the revocation."""
    flush_token_caches()
    return proxy.token != token


def revoke(owner: Any, token: str) -> None:
    """Revoke a token, and flush the caches of its validation."""
    headers = {"X-Auth-Token": token, "X-Subject-Token": token}
    url = f"{owner.config.auth['auth_url']}/auth/tokens"
    assert requests.delete(url, headers=headers, timeout=30).status_code == 204
    flush_token_caches()


def test_wrong_password_is_unavailable(
    cloud_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_clouds_file(tmp_path, cloud_settings.os_cloud or "", {"password": "wrong"})
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", file)
    create_body = {"name": "live-refused", "flavor": "m1.tiny", "image": "cirros"}
    unknown_vm = "/vms/00000000-0000-4000-8000-000000000000"
    with serve_app(cloud_settings) as script:
        # a slow Keystone refuses later than the probe waits
        expected = {"backend": "forbidden", "store": "ok"}
        wait_for(lambda: script.call("GET", "/readyz").body["dependencies"] == expected)
        ready = script.call("GET", "/readyz")
        assert (ready.status, ready.body["status"]) == (200, "degraded")
        for method, path, body in (
            ("GET", "/vms", None),
            ("GET", unknown_vm, None),
            ("GET", "/flavors", None),
            ("POST", "/vms", create_body),
            ("POST", f"{unknown_vm}/stop", None),
            ("DELETE", unknown_vm, None),
        ):
            problem = script.assert_refused(503, "backend_unavailable", method, path, body)
            assert problem["detail"] == "The cloud refuses the credentials of vmapi."
            assert script.responses[-1].headers["Retry-After"] == "60"
        assert script.get("/operations")["items"] == []
        assert script.get("/health")["status"] == "healthy"
        assert not any("wrong" in response.text for response in script.responses)
