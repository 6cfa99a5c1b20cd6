"""Creation from ids, keys and user data; lists and filters compared with Nova."""

import contextlib
import io
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes
from itertools import pairwise
from typing import Any

import pytest
import yaml

from tests.support.live.api_script import RUN_LABEL, ApiScript, serve_app
from vmapi.domain.timestamps import parse_rfc3339
from vmapi.settings.settings import Settings

KEY = "ssh-ed25519 " + b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(range(32))).decode()
SECRET = "the-password-of-this-vm"
SORTS = ("created_at", "name", "updated_at")

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def sample_vms(_served: ApiScript) -> Iterator[tuple[ApiScript, dict[str, str]]]:
    """Create a STOPPED, a RUNNING and a PAUSED VM, for tests that only read."""
    script = ApiScript(_served.send, f"{RUN_LABEL}-fleet")
    try:
        flavors = [flavor["name"] for flavor in script.get("/flavors")["items"]]
        images = sorted({script.create_body()["image"], script.get("/images")["items"][-1]["name"]})
        responses = {
            "STOPPED": script.request_vm("b", flavor=flavors[0], image=images[0]),
            "RUNNING": script.request_vm("a", flavor=flavors[1], image=images[-1], start=True),
            "PAUSED": script.request_vm("c", flavor=flavors[0], image=images[-1], start=True),
        }
        for response in responses.values():
            assert script.wait_until_finished(response)["status"] == "succeeded"
        ids = {status: response.body["id"] for status, response in responses.items()}
        script.perform_action(ids["PAUSED"], "pause")
        yield script, ids
    finally:
        script.delete_created_vms()


def test_vm_list_equals_novas_list(
    sample_vms: tuple[ApiScript, dict[str, str]], owner: Any
) -> None:
    script, ids = sample_vms
    path = f"/vms?name={script.label}-*"
    listed = owner.compute.get(f"/servers/detail?name=^{script.label}").json()["servers"]
    servers = {server["id"]: server for server in listed}
    assert set(ids.values()) == set(servers)
    vms = script.get(path)["items"]
    for sort in SORTS:
        # the loop below compares the values with Nova's
        expected = [vm["id"] for vm in sorted(vms, key=lambda vm: (vm[sort], vm["id"]))]
        assert list_ids(script, f"{path}&sort={sort}") == expected
        assert list_ids(script, f"{path}&sort=-{sort}") == expected[::-1]
    assert list_ids(script, path) == list_ids(script, f"{path}&sort=-created_at")
    for vm in vms:
        server = servers[vm["id"]]
        assert vm == script.get_vm(vm["id"])
        assert vm["name"] == server["name"]
        # the first known time stays: that of Nova's response, which may be a second later
        created_at, nova_created_at = map(parse_rfc3339, (vm["created_at"], server["created"]))
        assert created_at - nova_created_at in (timedelta(), timedelta(seconds=1))
        assert (vm["backend_status"], vm["updated_at"]) == (server["status"], server["updated"])
        assert vm["security_groups"] == [group["name"] for group in server["security_groups"]]
        (addresses,) = server["addresses"].values()
        assert [address["ip"] for address in vm["addresses"]] == [a["addr"] for a in addresses]
        status = script.get(f"/vms/{vm['id']}/status")
        assert status == {"vm_id": vm["id"], "status": vm["status"], "task": None} | {
            "updated_at": vm["updated_at"]
        }


def test_vm_list_filters(sample_vms: tuple[ApiScript, dict[str, str]]) -> None:
    script, ids = sample_vms
    path = f"/vms?name={script.label}-*&sort=name"
    stopped, running, paused = (
        script.get_vm(ids[status]) for status in ("STOPPED", "RUNNING", "PAUSED")
    )
    cases: dict[str, list[Any]] = {
        "status=STOPPED": [stopped],
        "status=PAUSED&status=RUNNING": [running, paused],
        "status=ERROR": [],
        f"flavor={stopped['flavor']}": [stopped, paused],
        f"image={running['image']}": [
            vm for vm in (running, stopped, paused) if vm["image"] == running["image"]
        ],
        f"created_after={paused['created_at']}": [
            vm for vm in (running, stopped) if vm["created_at"] > paused["created_at"]
        ],
        f"created_before={paused['created_at']}": [
            vm for vm in (running, stopped) if vm["created_at"] < paused["created_at"]
        ],
        "updated_after=2999-01-01T00:00:00Z": [],
        "updated_after=2020-01-01T00:00:00Z": [running, stopped, paused],
    }
    for query, expected in cases.items():
        assert list_ids(script, f"{path}&{query}") == [vm["id"] for vm in expected], query
    for name, total in ((stopped["name"], 1), (stopped["name"].upper(), 0), (script.label, 0)):
        assert script.get(f"/vms?name={name}")["total"] == total


def test_vm_list_pages(sample_vms: tuple[ApiScript, dict[str, str]]) -> None:
    script, ids = sample_vms
    path = f"/vms?name={script.label}-*&sort=name"
    first = script.get(f"{path}&page_size=2")
    assert (first["total"], first["page"], first["page_size"]) == (3, 1, 2)
    response = script.call("GET", f"{path}&page_size=2")
    assert response.headers["Link"] == f'<{response.body["next"]}>; rel="next"'
    second = script.get(first["next"])
    assert (second["total"], second["page"], second["next"]) == (3, None, None)
    assert [vm["id"] for vm in first["items"] + second["items"]] == list_ids(script, path)
    all_vms = script.get("/vms?page_size=1000")["items"]
    assert set(ids.values()) <= {vm["id"] for vm in all_vms}
    assert all(a["created_at"] >= b["created_at"] for a, b in pairwise(all_vms))


def test_console_equals_novas_output(
    sample_vms: tuple[ApiScript, dict[str, str]], owner: Any
) -> None:
    script, ids = sample_vms
    output = script.get(f"/vms/{ids['RUNNING']}/console")["output"]
    assert output == owner.compute.get_server_console_output(ids["RUNNING"])["output"]
    assert len(output.split("\n")) > 2
    last_lines = script.get(f"/vms/{ids['RUNNING']}/console?lines=2")["output"]
    assert last_lines.split("\n") == output.split("\n")[-2:]
    script.assert_refused(422, "validation_error", "GET", f"/vms/{ids['RUNNING']}/console?lines=0")


def test_create_with_unknown_resource_is_refused(script: ApiScript) -> None:
    unknown_id = "00000000-0000-4000-8000-000000000000"
    for member, code in (
        ("flavor", "flavor_not_found"),
        ("image", "image_not_found"),
        ("network", "network_not_found"),
        ("key_name", "key_not_found"),
        ("security_groups", "security_group_not_found"),
    ):
        for value in ("no-such", unknown_id):
            body = script.create_body(**{member: [value] if member == "security_groups" else value})
            problem = script.assert_refused(422, code, "POST", "/vms", body)
            assert [error["pointer"] for error in problem["errors"]] == [f"/{member}"]
    assert script.get(f"/vms?name={script.vm_name('vm')}")["total"] == 0
    assert script.get("/operations?status=running")["items"] == []
    for vm_id in (unknown_id, "nope"):
        script.assert_refused(404, "vm_not_found", "GET", f"/vms/{vm_id}")


def test_create_with_ids_key_and_security_groups(script: ApiScript, owner: Any) -> None:
    flavor, image, network = (
        script.get(path)["items"][-1] for path in ("/flavors", "/images", "/networks")
    )
    flavor = script.get("/flavors")["items"][0]
    key = owner.compute.create_keypair(name=script.vm_name("key"), public_key=KEY)
    group = owner.network.create_security_group(name=script.vm_name("group"))
    try:
        ids = {"flavor": flavor["id"], "image": image["id"], "network": network["id"]}
        options = {"key_name": key.name, "security_groups": [group.name, "default"], "start": True}
        vm = script.get_vm(script.create_vm(**ids, **options))
        assert (vm["flavor"], vm["image"]) == (flavor["name"], image["name"])
        assert {address["network"] for address in vm["addresses"]} == {network["name"]}
        assert vm["key_name"] == key.name
        assert sorted(vm["security_groups"]) == sorted([group.name, "default"])
        script.delete_created_vms()
    finally:
        owner.compute.delete_keypair(key)
        owner.network.delete_security_group(group)


def test_user_data_reach_the_vm_and_nothing_else(cloud_settings: Settings, admin: Any) -> None:
    log, debug_settings = io.StringIO(), replace(cloud_settings, log_level="DEBUG")
    user_data = f"#!/bin/sh\necho {SECRET}\n"
    with contextlib.redirect_stdout(log), serve_app(debug_settings) as script:
        user_data_options = {"user_data": user_data, "ssh_keys": [f"{KEY} me@home"]}
        try:
            vm_id = script.create_running_vm(**user_data_options)
            script.assert_refused(
                422,
                "key_not_found",
                "POST",
                "/vms",
                script.create_body("b", **user_data_options, key_name="nope"),
            )
            script.call("PATCH", f"/vms/{vm_id}", {"metadata": {"env": "test"}})
            for path in (f"/vms/{vm_id}", "/vms", f"/vms/{vm_id}/console", "/operations"):
                script.get(path)
            server = admin.compute.get(f"/servers/{vm_id}", microversion="2.3").json()["server"]
        finally:
            script.delete_created_vms()
    archive = b64decode(server["OS-EXT-SRV-ATTR:user_data"])
    parts = {part.get_content_type(): part for part in message_from_bytes(archive).walk()}
    script_part = parts["text/x-shellscript"].get_payload(decode=True)
    config_part = parts["text/cloud-config"].get_payload(decode=True)
    assert (script_part, archive.count(b"MIME-Version")) == (user_data.encode(), 3)
    assert yaml.safe_load(config_part)["ssh_authorized_keys"] == [f"{KEY} me@home"]
    output = log.getvalue() + "".join(f"{r.headers}{r.text}" for r in script.responses)
    assert "vm create succeeded" in output
    for text in (SECRET, KEY.split()[1], b64encode(archive).decode()[:40], "MIME-Version"):
        assert text not in output


def list_ids(script: ApiScript, path: str) -> list[str]:
    """Return the ids of a list of VMs, in its order."""
    return [vm["id"] for vm in script.get(path)["items"]]
