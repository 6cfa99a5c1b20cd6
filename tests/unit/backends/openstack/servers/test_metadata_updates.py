"""Updates of the OpenStack driver: single metadata pairs, then the name."""

from collections.abc import Mapping

import pytest

from tests.support.fake_openstack import (
    REQUEST_ID,
    SERVER_ID,
    SERVER_PATH,
    FakeOpenStack,
    Reply,
    server_reply,
)
from vmapi import errors
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.backends.openstack.servers.metadata_requests import MetadataPlan, plan_metadata_requests
from vmapi.domain.vm import VMPatch

METADATA_PATH = f"{SERVER_PATH}/metadata"
REMOVED = Reply(204, None, {"X-Openstack-Request-Id": REQUEST_ID})
NO_SUCH_PAIR = Reply(404, {"itemNotFound": {"code": 404, "message": "Metadata item was not found"}})
UPDATED = Reply(200, {"metadata": {}})
BUSY = Reply(503, {"serviceUnavailable": {"message": "busy"}})
LOCKED = Reply(409, {"conflictingRequest": {"message": f"Instance {SERVER_ID} is locked"}})


def changes_sent(cloud: FakeOpenStack) -> list[tuple[str, str, object]]:
    return [(r.method, r.path, r.body) for r in cloud.requests if r.method in CHANGING_METHODS]


CHANGING_METHODS = ("POST", "PUT", "DELETE")


@pytest.fixture(autouse=True)
def _server(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    metadata = {"a": "1", "b": "2", "vmapi.own": "3"}
    cloud.reply_to("GET", SERVER_PATH, server_reply("ACTIVE", metadata=metadata))
    cloud.reply_to("PUT", SERVER_PATH, server_reply("ACTIVE"))
    cloud.reply_to("POST", METADATA_PATH, UPDATED)
    cloud.reply_to("DELETE", f"{METADATA_PATH}/a", REMOVED)
    backend.get_vm(SERVER_ID)
    cloud.requests.clear()


def test_update_sends_only_the_pairs_of_the_patch(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    backend.update_vm(SERVER_ID, VMPatch("web-2", {"a": None, "c": "4", "b": "2", "absent": None}))
    assert changes_sent(cloud) == [
        ("DELETE", f"{METADATA_PATH}/a", None),
        ("POST", METADATA_PATH, {"metadata": {"c": "4"}}),
        ("PUT", SERVER_PATH, {"server": {"name": "web-2"}}),
    ]
    cloud.requests.clear()
    backend.update_vm(SERVER_ID, VMPatch(None, {"a": "1", "absent": None}))
    assert changes_sent(cloud) == []


@pytest.mark.parametrize(
    ("key", "segment"), [("a b", "a%20b"), ("a:b", "a%3Ab"), ("...", "..."), ("a.json", "a.json")]
)
def test_removed_key_is_one_path_segment(
    cloud: FakeOpenStack, backend: OpenStackBackend, key: str, segment: str
) -> None:
    cloud.reply_to("GET", SERVER_PATH, server_reply("ACTIVE", metadata={key: "1"}))
    cloud.reply_to("DELETE", f"{METADATA_PATH}/{segment}", REMOVED)
    backend.update_vm(SERVER_ID, VMPatch(None, {key: None}))
    assert changes_sent(cloud) == [("DELETE", f"{METADATA_PATH}/{segment}", None)]


@pytest.mark.parametrize("key", [".", ".."])
def test_key_that_no_url_can_hold_is_removed_by_a_replacement(
    cloud: FakeOpenStack, backend: OpenStackBackend, key: str
) -> None:
    cloud.reply_to("GET", SERVER_PATH, server_reply("ACTIVE", metadata={key: "1", "b": "2"}))
    cloud.reply_to("PUT", METADATA_PATH, UPDATED)
    backend.update_vm(SERVER_ID, VMPatch(None, {key: None, "c": "3"}))
    replaced = {"metadata": {"b": "2", "c": "3"}}
    assert changes_sent(cloud) == [("PUT", METADATA_PATH, replaced)]


@pytest.mark.parametrize(
    ("current", "patch", "plan"),
    [
        ({"Env": "1", "env": "2"}, {"Env": None}, MetadataPlan(None, ("Env",), {"env": "2"})),
        (
            {"Env": "1", "env": "2"},
            {"Env": None, "env": "3"},
            MetadataPlan(None, ("Env",), {"env": "3"}),
        ),
        ({"a": "1", "a ": "2"}, {"a ": None}, MetadataPlan(None, ("a ",), {"a": "1"})),
        ({"a": "1", "b": "2"}, {"a": None}, MetadataPlan(None, ("a",), {})),
    ],
)
def test_removal_keeps_keys_that_differ_in_case(
    current: Mapping[str, str], patch: Mapping[str, str | None], plan: MetadataPlan
) -> None:
    assert plan_metadata_requests(current, patch) == plan


def test_removal_of_a_pair_that_is_already_absent_succeeds(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    without_pair = server_reply("ACTIVE", metadata={})
    with_pair = server_reply("ACTIVE", metadata={"a": "1"})
    cloud.reply_to("GET", SERVER_PATH, with_pair, without_pair)
    cloud.reply_to("DELETE", f"{METADATA_PATH}/a", NO_SUCH_PAIR)
    backend.update_vm(SERVER_ID, VMPatch(None, {"a": None}))


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (NO_SUCH_PAIR, errors.BackendError),
        (Reply(404, "no such route"), errors.BackendTimeout),
        (Reply(404, NO_SUCH_PAIR.body, is_marked=False), errors.BackendTimeout),
        (Reply(204), errors.BackendTimeout),
        (LOCKED, errors.VMLocked),
    ],
)
def test_removal_is_not_taken_as_done_without_proof(
    cloud: FakeOpenStack,
    backend: OpenStackBackend,
    reply: Reply,
    error: type[errors.VmapiError],
) -> None:
    cloud.reply_to("DELETE", f"{METADATA_PATH}/a", reply)
    with pytest.raises(error):
        backend.update_vm(SERVER_ID, VMPatch("web-2", {"a": None}))
    assert cloud.count_requests("PUT", SERVER_PATH) == 0


def test_half_completed_update_has_an_unknown_outcome(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    cloud.reply_to("PUT", SERVER_PATH, BUSY)
    with pytest.raises(errors.BackendTimeout, match="A part of the update was made"):
        backend.update_vm(SERVER_ID, VMPatch("web-2", {"c": "1"}))
    cloud.reply_to("POST", METADATA_PATH, BUSY)
    with pytest.raises(errors.BackendTimeout, match="A part of the update was made"):
        backend.update_vm(SERVER_ID, VMPatch(None, {"a": None, "c": "1"}))
    for patch in (VMPatch("web-2"), VMPatch(None, {"c": "1"})):
        with pytest.raises(errors.BackendUnavailable):
            backend.update_vm(SERVER_ID, patch)


def test_repetition_of_a_half_completed_update_completes_it(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    patch = VMPatch("web-2", {"a": None, "c": "1"})
    cloud.reply_to("POST", METADATA_PATH, Reply(502, "<html>"))
    with pytest.raises(errors.BackendTimeout):
        backend.update_vm(SERVER_ID, patch)
    # others have set pairs since
    metadata = {"b": "3", "outside": "yes"}
    cloud.reply_to("GET", SERVER_PATH, server_reply("ACTIVE", metadata=metadata))
    cloud.reply_to("POST", METADATA_PATH, UPDATED)
    cloud.requests.clear()
    backend.update_vm(SERVER_ID, patch)
    assert changes_sent(cloud) == [
        ("POST", METADATA_PATH, {"metadata": {"c": "1"}}),
        ("PUT", SERVER_PATH, {"server": {"name": "web-2"}}),
    ]
