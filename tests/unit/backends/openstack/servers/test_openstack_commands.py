"""Creates and updates of the OpenStack driver."""

import base64
import gzip
import os
from dataclasses import replace

import pytest

from tests.support.fake_openstack import (
    ACCEPTED,
    DETAIL_PATH,
    NOVA_PATH,
    REQUEST_ID,
    SERVER_ID,
    SERVER_NOT_FOUND,
    SERVER_PATH,
    SPEC,
    FakeOpenStack,
    Reply,
    openstack_settings,
    server_reply,
)
from vmapi import errors
from vmapi.backends.base import AcceptedAction
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.backends.openstack.servers.commands import encode_user_data
from vmapi.domain.vm import CreateSpec


def test_create_sends_the_spec_and_the_operation_tag(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    created = {"server": {"id": SERVER_ID, "adminPass": "x"}}
    cloud.reply_to("POST", f"{NOVA_PATH}/servers", replace(ACCEPTED, body=created))
    assert backend.create_vm(SPEC, "op-1") == AcceptedAction(SERVER_ID, REQUEST_ID)
    full = CreateSpec("web-2", "1", "img", "net", {}, b"#!/bin/sh", "key-1", ("web",))
    backend.create_vm(full, "op-2")
    bodies = [r.body for r in cloud.requests if r.path == f"{NOVA_PATH}/servers"]
    first, second = (body["server"] for body in bodies)
    assert first == {
        "name": "web-1",
        "flavorRef": "1",
        "imageRef": "img",
        "networks": "auto",
        "metadata": {"a": "b"},
        "tags": ["vmapi.operation.op-1"],
    }
    assert second["networks"] == [{"uuid": "net"}]
    assert second["security_groups"] == [{"name": "web"}]
    assert second["key_name"] == "key-1"
    assert base64.b64decode(second["user_data"]) == b"#!/bin/sh"


def test_metadata_of_a_server_hold_its_project(
    cloud: FakeOpenStack, backend: OpenStackBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.reply_to(
        "POST", f"{NOVA_PATH}/servers", replace(ACCEPTED, body={"server": {"id": SERVER_ID}})
    )
    backend.create_vm(replace(SPEC, project="web"), "op-1")
    (created,) = (r.body["server"] for r in cloud.requests if r.path == f"{NOVA_PATH}/servers")
    assert created["metadata"] == {"a": "b", "vmapi.project": "web"}
    cloud.reply_to("GET", SERVER_PATH, server_reply("ACTIVE", metadata=created["metadata"]))
    vm = backend.get_vm(SERVER_ID)
    assert (vm.project, vm.metadata) == ("web", {"a": "b"})
    cloud.reply_to("GET", SERVER_PATH, server_reply("ACTIVE", metadata={"a": "b"}))
    other_settings = replace(openstack_settings(cloud.url, monkeypatch), default_project="other")
    another = OpenStackBackend.from_settings(other_settings)
    assert (backend.get_vm(SERVER_ID).project, another.get_vm(SERVER_ID).project) == (
        "default",
        "other",
    )
    another.close()


def test_long_user_data_is_compressed() -> None:
    assert encode_user_data(b"x" * 49_149) == base64.b64encode(b"x" * 49_149).decode()
    compressed = encode_user_data(b"x" * 65_536)
    assert gzip.decompress(base64.b64decode(compressed)) == b"x" * 65_536
    with pytest.raises(errors.ValidationFailed) as caught:
        encode_user_data(os.urandom(50_000))
    assert caught.value.extra["errors"][0]["pointer"] == "/user_data"


def test_created_vm_is_found_by_its_tag(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    cloud.reply_to("GET", DETAIL_PATH, Reply(200, {"servers": []}))
    assert backend.find_created_vm("op") is None
    assert any(r.path == f"{DETAIL_PATH}?tags=vmapi.operation.op" for r in cloud.requests)
    newer = {"id": "11111111-2222-4333-8444-000000000000", "created": "2026-11-22T15:55:51Z"}
    servers = [newer, {"id": SERVER_ID, "created": "2026-11-22T15:55:50Z", "status": "BUILD"}]
    cloud.reply_to("GET", DETAIL_PATH, Reply(200, {"servers": servers}))
    actions = f"{SERVER_PATH}/os-instance-actions"
    cloud.reply_to("GET", actions, Reply(200, {"instanceActions": []}))
    assert backend.find_created_vm("op") == AcceptedAction(SERVER_ID, "")
    record = {"action": "create", "request_id": REQUEST_ID, "start_time": None}
    cloud.reply_to("GET", actions, Reply(200, {"instanceActions": [record]}))
    assert backend.find_created_vm("op") == AcceptedAction(SERVER_ID, REQUEST_ID)


def test_created_vm_that_is_deleted_during_the_search_is_found(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    server = {"id": SERVER_ID, "created": "2026-11-22T15:55:50Z", "status": "ACTIVE"}
    cloud.reply_to("GET", DETAIL_PATH, Reply(200, {"servers": [server]}))
    cloud.reply_to("GET", f"{SERVER_PATH}/os-instance-actions", SERVER_NOT_FOUND)
    assert backend.find_created_vm("op") == AcceptedAction(SERVER_ID, "")
