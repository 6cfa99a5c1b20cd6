"""What the real cloud refuses and fails at: room, quotas, credentials."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import requests

from tests.support.live.api_response import Answer
from tests.support.live.api_script import Script, serving, until
from tests.support.live.devcloud_services import forget_tokens
from tests.support.live.nova_proxy import Proxy, clouds_file
from vmapi.settings.settings import Settings

READERS = 16

pytestmark = pytest.mark.live


def test_no_host_has_room(script: Script, admin: Any) -> None:
    flavor = admin.compute.create_flavor(
        name=script.name("huge"), vcpus=1, ram=2**30, disk=1, is_public=True
    )
    try:
        made = script.order(flavor=flavor.id, start=True)
        assert made.status in (201, 202)
        operation = script.ended(made)
        assert (operation["status"], operation["error"]["code"]) == ("failed", "no_capacity")
        assert operation["error"]["status"] == 503
        vm = script.vm(made.body["id"])
        assert (vm["status"], vm["task"], vm["backend_status"]) == ("ERROR", None, "ERROR")
        assert (vm["flavor"], vm["allowed_actions"]) == (flavor.name, ["delete"])
        assert vm["fault"]["code"] == "no_capacity"
        assert vm["fault"]["message"].startswith("No valid host was found")
        assert "smaller flavor" in vm["fault"]["hint"]
        assert vm["addresses"] == []
        script.refused(409, "invalid_state", "GET", f"/vms/{vm['id']}/console")
        script.clean()
    finally:
        admin.compute.delete_flavor(flavor)
    script.refused(422, "flavor_not_found", "POST", "/vms", script.wanted(flavor=flavor.id))


def test_a_quota_that_is_used_up(script: Script, owner: Any, admin: Any) -> None:
    project, wanted = owner.current_project_id, script.wanted()
    # none at all is what is used at the moment, or less: others may come and go meanwhile
    for limit in (compute_quota(admin, project, "instances"), port_quota(admin, project)):
        with limit:
            problem = script.refused(403, "quota_exceeded", "POST", "/vms", wanted)
        assert problem["detail"].startswith("The cloud refuses: ")
        (operation,) = script.get("/operations?action=create&page_size=1")["items"]
        assert (operation["status"], operation["vm_id"]) == ("failed", None)
        assert operation["error"]["code"] == "quota_exceeded"
    assert script.get(f"/vms?name={wanted['name']}")["total"] == 0
    made = script.order(start=True)
    assert script.ended(made)["status"] == "succeeded"


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
    watched: Script, proxy: Proxy, owner: Any, devcloud: str
) -> None:
    vm_id = watched.running()
    answers: list[Answer] = []
    done = Event()

    def read() -> None:
        while not done.is_set():
            answers.append(watched.send("GET", f"/api/v1/vms/{vm_id}", None))

    readers = [Thread(target=read) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(2):
            before, token = len(answers), proxy.token
            until(lambda before=before: len(answers) > before + READERS)
            revoke(owner, token)
            until(lambda token=token: proxy.token != token)
            before = len(answers)
            until(lambda before=before: len(answers) > before + READERS)
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert {answer.status for answer in answers} == {200}
    # changes too are repeated after a new login, once
    revoke(owner, proxy.token)
    assert watched.done(vm_id, "pause")["status"] == "PAUSED"


def revoke(owner: Any, token: str) -> None:
    """Take a token back, and let nobody remember that it was good."""
    headers = {"X-Auth-Token": token, "X-Subject-Token": token}
    url = f"{owner.config.auth['auth_url']}/auth/tokens"
    assert requests.delete(url, headers=headers, timeout=30).status_code == 204
    forget_tokens()


def test_a_wrong_password(
    cloud_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = clouds_file(tmp_path, cloud_settings.os_cloud or "", {"password": "wrong"})
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", file)
    wanted = {"name": "live-refused", "flavor": "m1.tiny", "image": "cirros"}
    nobody = "/vms/00000000-0000-4000-8000-000000000000"
    with serving(cloud_settings) as script:
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
            problem = script.refused(503, "backend_unavailable", method, path, body)
            assert problem["detail"] == "The cloud refuses the credentials of vmapi."
            assert script.seen[-1].headers["Retry-After"] == "60"
        assert script.get("/operations")["items"] == []
        assert script.get("/health")["status"] == "healthy"
        assert not any("wrong" in answer.text for answer in script.seen)
