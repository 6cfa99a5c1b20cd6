"""Callers with Keystone tokens: two projects, and the permissions of roles in them."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.live.api_script import EXTERNAL_CHANGE_TIMEOUT, ApiScript, wait_for
from tests.support.live.gunicorn_server import serve_gunicorn
from tests.support.live.keystone_cloud import (
    KeystoneCloud,
    check_tokens_are_stored_nowhere,
    create_in_nova,
    finished_operation,
    list_vms_named,
    read_events,
    run_command,
    script_with_api_token,
    serve_keystone_cloud,
)
from vmapi.backends.openstack.projects import (
    CREDENTIALS_REQUIRED_DETAIL,
    PROJECT_NOT_VISIBLE_DETAIL,
)
from vmapi.backends.openstack.servers.commands import HIDDEN_VM_DETAIL
from vmapi.backends.openstack.servers.visibility import ALL_PROJECTS_VISIBLE, ALL_TENANTS_REFUSED

pytestmark = pytest.mark.live
TOKEN_CACHE_SECONDS = 30.0
"""Seconds for which vmapi caches the validation of a token."""
BAD_TOKEN = 'Bearer realm="vmapi", error="invalid_token"'


@pytest.fixture(scope="module")
def cloud(
    devcloud: str, admin: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KeystoneCloud]:
    folder = tmp_path_factory.mktemp("keystone")
    with serve_keystone_cloud(devcloud, admin, folder) as cloud:
        yield cloud
        check_tokens_are_stored_nowhere(cloud, folder)


@pytest.fixture
def alice(cloud: KeystoneCloud) -> Iterator[ApiScript]:
    script = cloud.alice.create_script(cloud.server.send)
    yield script
    script.delete_created_vms()


@pytest.fixture
def bob(cloud: KeystoneCloud) -> Iterator[ApiScript]:
    script = cloud.bob.create_script(cloud.server.send)
    yield script
    script.delete_created_vms()


def test_vm_belongs_to_its_creator(cloud: KeystoneCloud, alice: ApiScript) -> None:
    alice_id, account = cloud.alice.id, cloud.admin.session.get_user_id()
    vm_id = alice.create_vm("vm")
    assert alice.get_vm(vm_id)["status"] == "STOPPED"
    server = cloud.server_of(vm_id)
    assert (server["user_id"], server["tenant_id"]) == (alice_id, cloud.alice.project)
    assert server["metadata"] == {}
    # vmapi sends the later steps with its service account
    assert cloud.actions(vm_id) == [("create", alice_id), ("stop", account)]
    for action, status in (("start", "RUNNING"), ("pause", "PAUSED"), ("stop", "STOPPED")):
        assert alice.perform_action(vm_id, action)["status"] == status
    changed = alice.call("PATCH", f"/vms/{vm_id}", {"metadata": {"env": "test"}})
    assert (changed.status, changed.body["metadata"]) == (200, {"env": "test"})
    actions = cloud.actions(vm_id)[2:]
    assert actions == [
        ("start", alice_id),
        ("pause", alice_id),
        ("unpause", alice_id),
        ("stop", account),
    ]
    operation = alice.get(f"/operations?vm_id={vm_id}&action=create")["items"][0]
    assert operation["requested_by"] == f"keystone:{alice_id}"
    assert alice.call("DELETE", f"/vms/{vm_id}").status in (202, 204)
    alice.wait_until_deleted(vm_id)


def test_bulk_actions_use_the_callers_token(cloud: KeystoneCloud, alice: ApiScript) -> None:
    ids = [alice.create_running_vm(f"vm-{number}") for number in range(3)]
    response = alice.call("POST", "/vms/actions", {"action": "stop", "ids": ids})
    assert response.status == 202
    for item in response.body["items"]:
        path = f"/operations/{item['operation']['id']}"
        wait_for(lambda path=path: alice.get(path)["status"] == "succeeded")
    for vm_id in ids:
        assert cloud.actions(vm_id)[-1] == ("stop", cloud.alice.id)


def assert_vm_is_hidden(script: ApiScript, vm_id: str) -> None:
    """Check that every request about a VM of another project is answered by vm_not_found."""
    for path in ("", "/status", "/console"):
        script.assert_refused(404, "vm_not_found", "GET", f"/vms/{vm_id}{path}")
    for refresh in (True, False):
        assert script.call("GET", f"/vms/{vm_id}", refresh=refresh).status == 404
    for action in ("stop", "start", "pause"):
        script.assert_refused(404, "vm_not_found", "POST", f"/vms/{vm_id}/{action}")
    script.assert_refused(404, "vm_not_found", "DELETE", f"/vms/{vm_id}")
    (item,) = script.call("POST", "/vms/actions", {"action": "stop", "ids": [vm_id]}).body["items"]
    assert item["error"]["code"] == "vm_not_found"


def test_projects_are_isolated(cloud: KeystoneCloud, alice: ApiScript, bob: ApiScript) -> None:
    name = alice.vm_name("same")
    bobs_vm = create_in_nova(cloud.bob, name)
    wait_for(lambda: list_vms_named(bob, name) == [bobs_vm], EXTERNAL_CHANGE_TIMEOUT)
    assert list_vms_named(alice, name) == []
    # a name in another project is no conflict
    alices_vm = alice.create_running_vm("same")
    assert alices_vm != bobs_vm
    assert list_vms_named(alice, name) == [alices_vm]
    assert (list_vms_named(bob, name), bob.get(f"/vms/{bobs_vm}")["status"]) == (
        [bobs_vm],
        "RUNNING",
    )
    create_body = {**bob.create_body(), "name": name}
    taken = bob.assert_refused(409, "name_taken", "POST", "/vms", create_body)
    assert taken["vm_id"] == bobs_vm
    assert_vm_is_hidden(alice, bobs_vm)
    for refresh in (True, False):
        assert alice.get("/vms", refresh=refresh)["total"] == 1
    stopped = bob.request_action(bobs_vm, "stop")
    operation = bob.wait_until_finished(stopped)
    alice.assert_refused(404, "operation_not_found", "GET", f"/operations/{operation['id']}")
    assert alice.get(f"/operations?vm_id={bobs_vm}")["total"] == 0
    assert bobs_vm not in {operation["vm_id"] for operation in alice.get("/operations")["items"]}
    messages = {event["vm_id"] for event in read_events(cloud, cloud.alice, alices_vm)}
    assert bobs_vm not in messages
    messages = {event["vm_id"] for event in read_events(cloud, cloud.bob, bobs_vm)}
    assert alices_vm not in messages
    assert cloud.server_of(bobs_vm)["status"] == "SHUTOFF"


def test_idempotency_key_belongs_to_its_project(
    cloud: KeystoneCloud, alice: ApiScript, bob: ApiScript
) -> None:
    for script in (alice, bob):
        headers = {"Idempotency-Key": f"key-{alice.label}"}
        response = script.send("POST", "/api/v1/vms", script.create_body(start=True), headers)
        assert response.status in (201, 202), response
        assert "Idempotent-Replayed" not in response.headers
        script.wait_until_settled(response.body["id"])


def test_networks_and_images_are_those_of_the_project(
    cloud: KeystoneCloud, alice: ApiScript, bob: ApiScript
) -> None:
    for user, script in ((cloud.alice, alice), (cloud.bob, bob)):
        own = {network.id for network in user.sdk.network.networks()}
        assert {network["id"] for network in script.get("/networks")["items"]} == own
        visible = {image.id for image in user.sdk.image.images()}
        assert {image["id"] for image in script.get("/images")["items"]} == visible
    (bobs_vm,) = bob.get("/networks")["items"]
    create_body = alice.create_body(network=bobs_vm["id"])
    alice.assert_refused(422, "network_not_found", "POST", "/vms", create_body)


def test_reader_role_cannot_change_vms(cloud: KeystoneCloud, alice: ApiScript) -> None:
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


def test_create_refused_by_novas_policy_is_forbidden(
    cloud: KeystoneCloud, alice: ApiScript
) -> None:
    # Nova allows a flavor without a disk to admins, such as the service account
    flavor = cloud.admin.compute.create_flavor(
        name=alice.vm_name("no-disk"), vcpus=4, ram=4096, disk=0, is_public=True
    )
    try:
        create_body = {**alice.create_body(), "flavor": flavor.id}
        refusal = alice.assert_refused(403, "forbidden", "POST", "/vms", create_body)
        assert "zero disk" in refusal["detail"]
        operation = alice.get("/operations?action=create&status=failed")["items"][0]
        assert (operation["error"]["code"], operation["vm_id"]) == ("forbidden", None)
        assert list_vms_named(alice, create_body["name"]) == []
        assert [server["name"] for server in cloud.users.list_servers()].count(
            create_body["name"]
        ) == 0
    finally:
        cloud.admin.compute.delete_flavor(flavor)


def test_admin_of_vmapi_is_no_admin_of_nova(cloud: KeystoneCloud, bob: ApiScript) -> None:
    vm_id, dora = bob.create_running_vm(), cloud.dora.create_script(cloud.server.send)
    assert dora.get_vm(vm_id)["status"] == "RUNNING"
    previous = cloud.server_of(vm_id)
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
    operation = wait_for(lambda: finished_operation(dora, item["operation"]["id"]))
    assert operation["error"]["code"] == "forbidden"
    assert cloud.server_of(vm_id) == previous
    assert cloud.actions(vm_id) == [("create", cloud.bob.id)]
    assert bob.get_vm(vm_id, refresh=True)["task"] is None


def test_revoked_token_is_refused(cloud: KeystoneCloud, alice: ApiScript) -> None:
    eve = cloud.users.create_user("eve", cloud.alice.project, "member")
    script = eve.create_script(cloud.server.send)
    create_body = script.create_body()
    cloud.users.disable(eve)
    started_at = time.monotonic()
    # vmapi has cached the token, and Nova has never validated it
    refusal = script.call("POST", "/vms", create_body)
    assert (refusal.status, refusal.body["code"]) == (401, "unauthenticated"), refusal
    assert refusal.headers["WWW-Authenticate"] == BAD_TOKEN
    assert list_vms_named(alice, create_body["name"]) == []
    assert [server["name"] for server in cloud.users.list_servers()].count(create_body["name"]) == 0

    # a worker that gets no request keeps its cached tokens until they expire
    time.sleep(max(0.0, started_at + TOKEN_CACHE_SECONDS + 1 - time.monotonic()))
    for _ in range(10):
        script.assert_refused(401, "unauthenticated", "GET", "/vms")


def test_api_token_creates_in_the_service_project_only(
    cloud: KeystoneCloud, alice: ApiScript
) -> None:
    vm_id = alice.create_running_vm()
    by_token = script_with_api_token(cloud, cloud.alice.project)
    refusal = by_token.assert_refused(
        403, "forbidden", "POST", "/vms", alice.create_body("by-token")
    )
    assert refusal["detail"] == CREDENTIALS_REQUIRED_DETAIL
    # the service account may change existing VMs
    assert by_token.perform_action(vm_id, "stop")["status"] == "STOPPED"
    assert cloud.actions(vm_id)[-1] == ("stop", cloud.admin.session.get_user_id())
    account = script_with_api_token(cloud, cloud.admin.session.get_project_id())
    response = account.request_vm()
    account.delete_created_vms()
    # that project has no network, so the build may fail in Nova
    assert response.body.get("code") != "forbidden"


def test_check_command_shows_the_visible_projects(cloud: KeystoneCloud) -> None:
    for name, projects in (
        (cloud.account, ALL_PROJECTS_VISIBLE),
        (cloud.member, ALL_TENANTS_REFUSED),
    ):
        output = run_command(cloud, "check", OS_CLOUD=name)
        assert f"{'sees':<26} {projects}\n" in output
        assert output.splitlines()[-1] == "the cloud answers"


def test_create_in_an_invisible_project_is_forbidden(cloud: KeystoneCloud, tmp_path: Path) -> None:
    settings = {**cloud.settings, "OS_CLOUD": cloud.member}
    settings["VMAPI_DATABASE_URL"] = f"sqlite:///{tmp_path}/vmapi.sqlite3"
    with serve_gunicorn(tmp_path, **settings) as server:
        script = cloud.alice.create_script(server.send)
        refusal = script.assert_refused(403, "forbidden", "POST", "/vms", script.create_body())
        assert refusal["detail"] == PROJECT_NOT_VISIBLE_DETAIL
        assert script.get("/operations")["total"] == script.get("/vms")["total"] == 0
    assert "VMs of other projects are not visible" in server.log.read_text()
    assert script.vm_name("vm") not in [server["name"] for server in cloud.users.list_servers()]
