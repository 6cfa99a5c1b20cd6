"""Callers with tokens of the cloud's own Keystone: two projects, and who may what in them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.live.api_response import ApiResponse
from tests.support.live.api_script import EXTERNAL_CHANGE_TIMEOUT, RUN_LABEL, ApiScript, wait_for
from tests.support.live.gunicorn_server import ROOT, GunicornServer, serve_gunicorn
from tests.support.live.keystone_users import KeystoneUser, KeystoneUsers, keystone_users
from vmapi.backends.openstack.projects import (
    CREDENTIALS_REQUIRED_DETAIL,
    PROJECT_NOT_VISIBLE_DETAIL,
)
from vmapi.backends.openstack.server_commands import HIDDEN_VM_DETAIL
from vmapi.backends.openstack.visibility import ALL_PROJECTS_VISIBLE, ALL_TENANTS_REFUSED

pytestmark = pytest.mark.live

REMEMBERED = 30.0
"""Seconds for which vmapi takes a token to be what Keystone has said of it."""
ROLES = "reader=viewer,member=operator,vmapi-chief=admin"
BAD_TOKEN = 'Bearer realm="vmapi", error="invalid_token"'


@dataclass
class Cloud:
    """A vmapi that asks for Keystone's tokens: alice and carol are in one project, bob is not.

    carol may only read. dora is chief of alice's project: admin to vmapi, nobody to Nova elsewhere.
    """

    server: GunicornServer
    settings: dict[str, str]
    people: KeystoneUsers
    admin: Any
    alice: KeystoneUser
    bob: KeystoneUser
    carol: KeystoneUser
    dora: KeystoneUser

    @property
    def account(self) -> str:
        """The cloud of clouds.yaml as whom vmapi comes: an admin."""
        return self.settings["OS_CLOUD"]

    @property
    def member(self) -> str:
        """The same for one that is a member of its project only."""
        return self.account.removesuffix("-admin")

    def actions(self, vm_id: str) -> list[tuple[str, str]]:
        """Return what was asked of a server, and by whom, as Nova has it on record."""
        response = self.admin.compute.get(f"/servers/{vm_id}/os-instance-actions")
        found = response.json()["instanceActions"]
        return [(each["action"], each["user_id"]) for each in reversed(found)]

    def server_of(self, vm_id: str) -> Any:
        """Return a server as Nova has it."""
        return self.admin.compute.get(f"/servers/{vm_id}").json()["server"]


@pytest.fixture(scope="module")
def cloud(devcloud: str, admin: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    settings = {
        "OS_CLOUD": f"{devcloud}-admin",
        "VMAPI_AUTH": "token,keystone",
        "VMAPI_KEYSTONE_URL": admin.config.get_auth_args()["auth_url"],
        "VMAPI_KEYSTONE_ROLES": ROLES,
        "LOG_LEVEL": "DEBUG",
    }
    folder = tmp_path_factory.mktemp("keystone")
    settings["VMAPI_DATABASE_URL"] = f"sqlite:///{folder}/vmapi.sqlite3"
    with keystone_users(admin) as made, serve_gunicorn(folder, **settings) as server:
        one, other = made.create_project("a"), made.create_project("b")
        cloud = Cloud(
            server,
            settings,
            made,
            admin,
            made.create_user("alice", one, "member"),
            made.create_user("bob", other, "member"),
            made.create_user("carol", one, "reader"),
            made.create_user("dora", one, "vmapi-chief"),
        )
        yield cloud
        seen = server.log.read_bytes()
        seen += b"".join(path.read_bytes() for path in folder.glob("vmapi.sqlite3*"))
        assert b"keystone:" in seen
        for person in (cloud.alice, cloud.bob, cloud.carol, cloud.dora):
            assert person.token.encode() not in seen


@pytest.fixture
def alice(cloud: Cloud) -> Iterator[ApiScript]:
    script = cloud.alice.create_script(cloud.server.send)
    yield script
    script.delete_created_vms()


@pytest.fixture
def bob(cloud: Cloud) -> Iterator[ApiScript]:
    script = cloud.bob.create_script(cloud.server.send)
    yield script
    script.delete_created_vms()


def test_a_vm_is_its_makers(cloud: Cloud, alice: ApiScript) -> None:
    me, account = cloud.alice.id, cloud.admin.session.get_user_id()
    vm_id = alice.create_vm("vm")
    assert alice.get_vm(vm_id)["status"] == "STOPPED"
    server = cloud.server_of(vm_id)
    assert (server["user_id"], server["tenant_id"]) == (me, cloud.alice.project)
    assert server["metadata"] == {}
    # what comes after the first call is vmapi's own
    assert cloud.actions(vm_id) == [("create", me), ("stop", account)]
    for action, status in (("start", "RUNNING"), ("pause", "PAUSED"), ("stop", "STOPPED")):
        assert alice.perform_action(vm_id, action)["status"] == status
    changed = alice.call("PATCH", f"/vms/{vm_id}", {"metadata": {"env": "test"}})
    assert (changed.status, changed.body["metadata"]) == (200, {"env": "test"})
    said = cloud.actions(vm_id)[2:]
    assert said == [("start", me), ("pause", me), ("unpause", me), ("stop", account)]
    operation = alice.get(f"/operations?vm_id={vm_id}&action=create")["items"][0]
    assert operation["requested_by"] == f"keystone:{me}"
    assert alice.call("DELETE", f"/vms/{vm_id}").status in (202, 204)
    alice.wait_until_deleted(vm_id)


def test_many_at_once_are_begun_by_who_asks(cloud: Cloud, alice: ApiScript) -> None:
    ids = [alice.create_running_vm(f"vm-{number}") for number in range(3)]
    response = alice.call("POST", "/vms/actions", {"action": "stop", "ids": ids})
    assert response.status == 202
    for item in response.body["items"]:
        path = f"/operations/{item['operation']['id']}"
        wait_for(lambda path=path: alice.get(path)["status"] == "succeeded")
    for vm_id in ids:
        assert cloud.actions(vm_id)[-1] == ("stop", cloud.alice.id)


def test_nobody_sees_anything_of_another_project(
    cloud: Cloud, alice: ApiScript, bob: ApiScript
) -> None:
    name = alice.vm_name("same")
    theirs = made_in_nova(cloud.bob, name)
    wait_for(lambda: named(bob, name) == [theirs], EXTERNAL_CHANGE_TIMEOUT)
    assert named(alice, name) == []
    # neither name nor key is in the way
    mine = alice.create_running_vm("same")
    assert mine != theirs
    assert named(alice, name) == [mine]
    assert (named(bob, name), bob.get(f"/vms/{theirs}")["status"]) == ([theirs], "RUNNING")
    wanted = {**bob.create_body(), "name": name}
    taken = bob.assert_refused(409, "name_taken", "POST", "/vms", wanted)
    assert taken["vm_id"] == theirs
    for path in ("", "/status", "/console"):
        alice.assert_refused(404, "vm_not_found", "GET", f"/vms/{theirs}{path}")
    for fresh in (True, False):
        assert alice.call("GET", f"/vms/{theirs}", refresh=fresh).status == 404
        assert alice.get("/vms", refresh=fresh)["total"] == 1
    for action in ("stop", "start", "pause"):
        alice.assert_refused(404, "vm_not_found", "POST", f"/vms/{theirs}/{action}")
    alice.assert_refused(404, "vm_not_found", "DELETE", f"/vms/{theirs}")
    (item,) = alice.call("POST", "/vms/actions", {"action": "stop", "ids": [theirs]}).body["items"]
    assert item["error"]["code"] == "vm_not_found"
    stopped = bob.request_action(theirs, "stop")
    operation = bob.wait_until_finished(stopped)
    alice.assert_refused(404, "operation_not_found", "GET", f"/operations/{operation['id']}")
    assert alice.get(f"/operations?vm_id={theirs}")["total"] == 0
    assert theirs not in {each["vm_id"] for each in alice.get("/operations")["items"]}
    told = {event["vm_id"] for event in events(cloud, cloud.alice, mine)}
    assert theirs not in told
    told = {event["vm_id"] for event in events(cloud, cloud.bob, theirs)}
    assert mine not in told
    assert cloud.server_of(theirs)["status"] == "SHUTOFF"


def test_a_key_is_its_projects(cloud: Cloud, alice: ApiScript, bob: ApiScript) -> None:
    for script in (alice, bob):
        headers = {"Idempotency-Key": f"key-{alice.label}"}
        response = script.send("POST", "/api/v1/vms", script.create_body(start=True), headers)
        assert response.status in (201, 202), response
        assert "Idempotent-Replayed" not in response.headers
        script.wait_until_settled(response.body["id"])


def test_networks_and_images_are_those_that_a_project_may_use(
    cloud: Cloud, alice: ApiScript, bob: ApiScript
) -> None:
    for person, script in ((cloud.alice, alice), (cloud.bob, bob)):
        own = {network.id for network in person.sdk.network.networks()}
        assert {network["id"] for network in script.get("/networks")["items"]} == own
        shown = {image.id for image in person.sdk.image.images()}
        assert {image["id"] for image in script.get("/images")["items"]} == shown
    (theirs,) = bob.get("/networks")["items"]
    wanted = alice.create_body(network=theirs["id"])
    alice.assert_refused(422, "network_not_found", "POST", "/vms", wanted)


def test_who_may_read_only(cloud: Cloud, alice: ApiScript) -> None:
    carol, vm_id = cloud.carol.create_script(cloud.server.send), alice.create_running_vm()
    assert carol.get_vm(vm_id)["id"] == vm_id
    for method, path, body in (
        ("POST", "/vms", carol.create_body()),
        ("POST", f"/vms/{vm_id}/stop", None),
        ("DELETE", f"/vms/{vm_id}", None),
    ):
        assert (
            carol.assert_refused(403, "forbidden", method, path, body)["role_needed"] == "operator"
        )
    assert alice.get_vm(vm_id, refresh=True)["status"] == "RUNNING"


def test_what_novas_policy_refuses_an_operator_is_refused(cloud: Cloud, alice: ApiScript) -> None:
    # a flavor without a disk is for admins, as vmapi's account is one
    flavor = cloud.admin.compute.create_flavor(
        name=alice.vm_name("no-disk"), vcpus=4, ram=4096, disk=0, is_public=True
    )
    try:
        wanted = {**alice.create_body(), "flavor": flavor.id}
        refusal = alice.assert_refused(403, "forbidden", "POST", "/vms", wanted)
        assert "zero disk" in refusal["detail"]
        operation = alice.get("/operations?action=create&status=failed")["items"][0]
        assert (operation["error"]["code"], operation["vm_id"]) == ("forbidden", None)
        assert named(alice, wanted["name"]) == []
        assert [each["name"] for each in cloud.people.list_servers()].count(wanted["name"]) == 0
    finally:
        cloud.admin.compute.delete_flavor(flavor)


def test_nor_is_a_chief_of_vmapi_one_of_novas(cloud: Cloud, bob: ApiScript) -> None:
    vm_id, dora = bob.create_running_vm(), cloud.dora.create_script(cloud.server.send)
    assert dora.get_vm(vm_id)["status"] == "RUNNING"
    before = cloud.server_of(vm_id)
    for method, path, body in (
        ("POST", f"/vms/{vm_id}/stop", None),
        ("POST", f"/vms/{vm_id}/restart", {"type": "hard"}),
        ("PATCH", f"/vms/{vm_id}", {"metadata": {"by": "dora"}}),
        ("PATCH", f"/vms/{vm_id}", {"name": "doras"}),
        ("DELETE", f"/vms/{vm_id}", None),
    ):
        refusal = dora.assert_refused(403, "forbidden", method, path, body)
        assert "role_needed" not in refusal
        assert refusal["detail"] == HIDDEN_VM_DETAIL
    (item,) = dora.call("POST", "/vms/actions", {"action": "stop", "ids": [vm_id]}).body["items"]
    operation = wait_for(lambda: ended(dora, item["operation"]["id"]))
    assert operation["error"]["code"] == "forbidden"
    assert cloud.server_of(vm_id) == before
    assert cloud.actions(vm_id) == [("create", cloud.bob.id)]
    assert bob.get_vm(vm_id, refresh=True)["task"] is None


def test_a_revoked_token(cloud: Cloud, alice: ApiScript) -> None:
    eve = cloud.people.create_user("eve", cloud.alice.project, "member")
    script = eve.create_script(cloud.server.send)
    wanted = script.create_body()
    cloud.people.disable(eve)
    started_at = time.monotonic()
    # vmapi remembers the token, and Nova has never seen it
    refusal = script.call("POST", "/vms", wanted)
    assert (refusal.status, refusal.body["code"]) == (401, "unauthenticated"), refusal
    assert refusal.headers["WWW-Authenticate"] == BAD_TOKEN
    assert named(alice, wanted["name"]) == []
    assert [each["name"] for each in cloud.people.list_servers()].count(wanted["name"]) == 0

    def everywhere() -> bool:
        # each process remembers by itself
        return all(script.call("GET", "/vms").status == 401 for _ in range(10))

    wait_for(everywhere, REMEMBERED + 5)
    assert time.monotonic() - started_at < REMEMBERED + 5
    script.assert_refused(401, "unauthenticated", "GET", "/vms")


def test_an_api_token_creates_in_the_accounts_project_only(cloud: Cloud, alice: ApiScript) -> None:
    vm_id = alice.create_running_vm()
    by_token = with_api_token(cloud, cloud.alice.project)
    refusal = by_token.assert_refused(
        403, "forbidden", "POST", "/vms", alice.create_body("by-token")
    )
    assert refusal["detail"] == CREDENTIALS_REQUIRED_DETAIL
    # what is there it may change, as vmapi's account may
    assert by_token.perform_action(vm_id, "stop")["status"] == "STOPPED"
    assert cloud.actions(vm_id)[-1] == ("stop", cloud.admin.session.get_user_id())
    account = with_api_token(cloud, cloud.admin.session.get_project_id())
    response = account.request_vm()
    account.delete_created_vms()
    # that project has no network: what comes of it there is Nova's matter
    assert response.body.get("code") != "forbidden"


def test_check_says_whose_vms_are_seen(cloud: Cloud) -> None:
    for name, seen in ((cloud.account, ALL_PROJECTS_VISIBLE), (cloud.member, ALL_TENANTS_REFUSED)):
        told = flask(cloud, "check", OS_CLOUD=name)
        assert f"{'sees':<24} {seen}\n" in told
        assert told.splitlines()[-1] == "the cloud answers"


def test_what_the_account_would_not_see_is_not_created(cloud: Cloud, tmp_path: Path) -> None:
    settings = {**cloud.settings, "OS_CLOUD": cloud.member}
    settings["VMAPI_DATABASE_URL"] = f"sqlite:///{tmp_path}/vmapi.sqlite3"
    with serve_gunicorn(tmp_path, **settings) as server:
        script = cloud.alice.create_script(server.send)
        refusal = script.assert_refused(403, "forbidden", "POST", "/vms", script.create_body())
        assert refusal["detail"] == PROJECT_NOT_VISIBLE_DETAIL
        assert script.get("/operations")["total"] == script.get("/vms")["total"] == 0
    assert "VMs of other projects are not visible" in server.log.read_text()
    assert script.vm_name("vm") not in [each["name"] for each in cloud.people.list_servers()]


def made_in_nova(person: KeystoneUser, name: str) -> str:
    """Have somebody make a server without vmapi, and return its id."""
    sdk = person.sdk
    server = sdk.compute.create_server(
        name=name,
        image_id=next(iter(sdk.image.images(status="active"))).id,
        flavor_id=next(iter(sdk.compute.flavors())).id,
        networks=[{"uuid": next(iter(sdk.network.networks())).id}],
    )
    sdk.compute.wait_for_server(server)
    return str(server.id)


def named(script: ApiScript, name: str) -> list[str]:
    """Return the VMs of a name that a script sees."""
    found = script.get(f"/vms?name={name}")
    assert found["total"] == len(found["items"])
    return [vm["id"] for vm in found["items"]]


def ended(script: ApiScript, operation_id: str) -> Any:
    """Return an operation if it is over."""
    operation = script.get(f"/operations/{operation_id}")
    return operation if operation["finished_at"] else None


def events(cloud: Cloud, person: KeystoneUser, vm_id: str) -> list[Any]:
    """Return what somebody is told of, from the first event that is kept to the end of a change."""
    told: list[Any] = []
    headers = {"X-Auth-Token": person.token, "Last-Event-ID": "1"}
    url = f"{cloud.server.url}/api/v1/events"
    with requests.get(url, headers=headers, stream=True, timeout=30) as response:
        assert response.status_code == 200, response.text
        for line in response.iter_lines():
            if line.startswith(b"data: "):
                told.append(json.loads(line.removeprefix(b"data: ")))
            if told and (told[-1]["vm_id"], told[-1]["kind"]) == (vm_id, "operation.succeeded"):
                return told
    raise AssertionError(f"nothing was told of {vm_id}")


def with_api_token(cloud: Cloud, project: str) -> ApiScript:
    """Return a script of this project that comes with an API token."""
    about = ("--subject", "ci", "--role", "operator", "--project", project)
    token = flask(cloud, "token", "create", *about).strip()

    def send(
        method: str, path: str, body: Any, headers: Mapping[str, str] | None = None
    ) -> ApiResponse:
        bearer = {"Authorization": f"Bearer {token}"}
        return cloud.server.send(method, path, body, {**(headers or {}), **bearer})

    return ApiScript(send, f"{RUN_LABEL}-token")


def flask(cloud: Cloud, *command: str, **settings: str) -> str:
    """Return what a command for operators says."""
    environ = {**os.environ, "VMAPI_BACKEND": "openstack", **cloud.settings, **settings}
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", *command],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout
