"""Responses of Nova in another microversion than the requested one."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.fake_openstack import (
    DETAIL_PATH,
    NOVA_PATH,
    SERVER_ID,
    SERVER_PATH,
    SPEC,
    FakeOpenStack,
    Reply,
)
from vmapi import errors
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.domain.lifecycle import Verb

HEADER = "OpenStack-API-Version"
OLD_SERVER = {"id": SERVER_ID, "status": "ACTIVE", "flavor": {"id": "1", "links": []}}
NEW_SERVER = {**OLD_SERVER, "flavor": {"vcpus": 1, "ram": 1, "original_name": "m1.small"}}
UNKNOWN_TAGS = {
    "badRequest": {"message": "Additional properties are not allowed ('tags' was unexpected)"}
}


def reads(backend: OpenStackBackend) -> list[Any]:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        lambda: backend.get_vm(SERVER_ID),
        backend.list_vms,
        lambda: backend.list_changed_since(since),
    ]


def serve(cloud: FakeOpenStack, server: dict[str, Any], headers: dict[str, str]) -> None:
    cloud.reply_to("GET", SERVER_PATH, Reply(200, {"server": server}, headers))
    cloud.reply_to("GET", DETAIL_PATH, Reply(200, {"servers": [server]}, headers))


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({HEADER: "compute 2.1"}, "Nova answers in microversion compute 2.1, and 2.84"),
        ({HEADER: "compute 2.93"}, "Nova answers in microversion compute 2.93, and 2.84"),
        ({}, "Nova names no microversion, and 2.84"),
    ],
)
def test_read_in_another_microversion_is_a_backend_error_that_says_so(
    cloud: FakeOpenStack, backend: OpenStackBackend, headers: dict[str, str], reason: str
) -> None:
    serve(cloud, OLD_SERVER, headers)
    for read in reads(backend):
        with pytest.raises(errors.BackendError) as caught:
            read()
        assert caught.value.detail.startswith(reason)
        assert caught.value.detail.endswith(f"may remove the header {HEADER}.")


@pytest.mark.parametrize("headers", [{HEADER: "compute 2.84"}, {HEADER: "Compute 2.84 "}, {}])
def test_read_in_the_requested_format_is_accepted(
    cloud: FakeOpenStack, backend: OpenStackBackend, headers: dict[str, str]
) -> None:
    serve(cloud, NEW_SERVER, headers)
    for read in reads(backend):
        read()


@pytest.mark.parametrize("headers", [{HEADER: "compute 2.1"}, {}])
def test_create_refused_by_another_microversion_is_a_backend_error(
    cloud: FakeOpenStack, backend: OpenStackBackend, headers: dict[str, str]
) -> None:
    cloud.reply_to("POST", f"{NOVA_PATH}/servers", Reply(400, UNKNOWN_TAGS, headers))
    with pytest.raises(errors.BackendError, match=r"2\.84 was requested"):
        backend.create_vm(SPEC, "op-1")


def test_accepted_action_counts_in_any_microversion(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    headers = {HEADER: "compute 2.1", "X-Openstack-Request-Id": "req-1"}
    cloud.reply_to("POST", f"{SERVER_PATH}/action", Reply(202, None, headers))
    assert backend.perform_action(SERVER_ID, Verb.STOP).request_id == "req-1"
