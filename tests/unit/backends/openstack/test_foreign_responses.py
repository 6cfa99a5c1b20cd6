"""Error responses of Nova and of a proxy in front of Nova: the class of each call's result.

The oracle `expected_error` states the rule without the code of the driver: a response is Nova's own
if it has Nova's fault for its status and a request id. Any other response proves nothing.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.fake_openstack import (
    DETAIL_PATH,
    REQUEST_ID,
    SERVER_ID,
    SERVER_PATH,
    FakeOpenStack,
    Reply,
    openstack_settings,
    serve_openstack,
)
from tests.support.openstack_calls import CALLS, CHANGES
from vmapi import errors
from vmapi.backends.openstack.driver import OpenStackBackend

STATUSES = (
    *(300, 302, 303, 307, 400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 413, 418, 422, 425),
    *(429, 451, 499, 500, 501, 502, 503, 504, 507, 520, 522, 524, 525, 527, 530, 598, 599),
)
FAULT_NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}
GONE = f"Instance {SERVER_ID} could not be found."
SHORT_GONE = "Instance could not be found"
"""The message of Nova to an update or a delete that loses a race with a delete."""
OTHER_GONE = "Instance 99999999-2222-4333-8444-555555555555 could not be found."
REFUSED = "The request is refused."


def fault(status: int, message: str, **marks: Any) -> Reply:
    """Return Nova's fault of a status."""
    name = FAULT_NAMES.get(status, "computeFault")
    return Reply(status, {name: {"code": status, "message": message}}, **marks)


NOVA_BODIES: dict[str, Callable[[int], Reply]] = {
    "nova": lambda status: fault(status, REFUSED),
    "nova-gone": lambda status: fault(status, GONE),
    "nova-short-gone": lambda status: fault(status, SHORT_GONE),
    "nova-other-gone": lambda status: fault(status, OTHER_GONE),
}
FOREIGN_BODIES: dict[str, Callable[[int], Reply]] = {
    "nova-gone-without-request-id": lambda status: fault(status, GONE, is_marked=False),
    "fault-of-another-status": lambda status: Reply(
        status, {"itemNotFound" if status != 404 else "badRequest": {"message": GONE}}
    ),
    "code-of-another-status": lambda status: Reply(
        status, {FAULT_NAMES.get(status, "computeFault"): {"code": 999, "message": GONE}}
    ),
    "text": lambda status: Reply(status, "no healthy upstream", {"Content-Type": "text/plain"}),
    "empty": lambda status: Reply(status, None),
    "html": lambda status: Reply(status, "<html>404</html>", {"Content-Type": "text/html"}),
    "other-json": lambda status: Reply(status, {"message": GONE}, is_marked=False),
    "list": lambda status: Reply(status, [GONE]),
}
BODIES = NOVA_BODIES | FOREIGN_BODIES

LISTS = ("list", "changed")


def expected_error(call: str, status: int, body: str) -> type[errors.VmapiError]:
    """Return the contract class of the result, by the rule."""
    if body not in NOVA_BODIES:
        return expected_foreign_error(call, status, body)
    if status in (413, 429, 503):
        return errors.BackendUnavailable  # nothing was done
    if status in (502, 504) and call in CHANGES:
        return errors.BackendTimeout
    if status == 401:
        return errors.BackendUnavailable  # Nova does not accept the token of vmapi
    has_server = call not in (*LISTS, "create")
    if status == 404 and call == "stop":
        return errors.InvalidState  # the VM can be read: it has no host yet
    if status == 404 and body in ("nova-gone", "nova-short-gone") and has_server:
        return errors.VMNotFound
    if status == 403 and call == "get":
        return errors.VMNotFound  # hidden: see the assertion on `hidden`
    conflict = errors.InvalidState if has_server else errors.BackendError
    by_status: dict[int, type[errors.VmapiError]] = {
        400: errors.ValidationFailed,
        403: errors.Forbidden,
        409: errors.ValidationFailed if call == "create" else conflict,
        501: conflict,
    }
    return by_status.get(status, errors.BackendError)


def expected_foreign_error(call: str, status: int, body: str) -> type[errors.VmapiError]:
    """Return the contract class of a result that is not Nova's own."""
    if status == 401 and body in ("fault-of-another-status", "code-of-another-status"):
        return errors.BackendUnavailable  # any service of the cloud may refuse a token
    if call in CHANGES:
        return errors.BackendTimeout
    return errors.BackendUnavailable if status in (429, 503) else errors.BackendError


@pytest.fixture(scope="module")
def cloud() -> Iterator[FakeOpenStack]:
    with serve_openstack() as cloud:
        cloud.reply_to("GET", "/image/v2/images", Reply(200, {"images": []}))
        yield cloud


@pytest.fixture(scope="module")
def backend(cloud: FakeOpenStack) -> Iterator[OpenStackBackend]:
    with pytest.MonkeyPatch.context() as patch:
        backend = OpenStackBackend.from_settings(openstack_settings(cloud.url, patch))
        patch.setattr("vmapi.backends.openstack.connection.session.READ_ATTEMPTS", 1)
        yield backend
        backend.close()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("body", BODIES)
def test_only_nova_speaks_for_nova(
    cloud: FakeOpenStack, backend: OpenStackBackend, call: str, body: str
) -> None:
    method, path, send = CALLS[call]
    server = {"id": SERVER_ID, "status": "ACTIVE", "metadata": {"b": "2"}}
    for status in STATUSES:
        cloud.replies.pop(("GET", DETAIL_PATH), None)
        cloud.reply_to("GET", SERVER_PATH, Reply(200, {"server": server}))
        cloud.reply_to(method, path, BODIES[body](status))
        cloud.requests.clear()
        with pytest.raises(errors.VmapiError) as caught:
            send(backend)
        error, expected = caught.value, expected_error(call, status, body)
        assert error.code == expected.code, (status, error)
        assert isinstance(error, expected), (status, error)
        if isinstance(error, errors.VMNotFound):
            assert error.hidden is (status == 403), status
        if status == 429:
            assert not error.backend_unresponsive
        if call in CHANGES and expected is not errors.BackendUnavailable:
            assert cloud.count_requests(method, path) == 1, status
        cloud.replies.pop((method, path), None)


@pytest.mark.parametrize("call", CALLS)
def test_unknown_route_of_nova_is_no_proof(
    cloud: FakeOpenStack, backend: OpenStackBackend, call: str
) -> None:
    method, path, send = CALLS[call]
    unknown = Reply(404, {"code": "404 Not Found", "message": "The resource could not be found."})
    server = {"id": SERVER_ID, "status": "ACTIVE", "metadata": {"b": "2"}}
    cloud.reply_to("GET", SERVER_PATH, Reply(200, {"server": server}))
    cloud.reply_to(method, path, unknown)
    expected = errors.BackendTimeout if call in CHANGES else errors.BackendError
    with pytest.raises(expected):
        send(backend)


@pytest.mark.parametrize("body", ["text", "html", "other-json"])
def test_change_with_a_foreign_401_is_sent_once(
    cloud: FakeOpenStack, backend: OpenStackBackend, body: str
) -> None:
    method, path, send = CALLS["create"]
    cloud.reply_to(method, path, BODIES[body](401))
    cloud.requests.clear()
    with pytest.raises(errors.BackendTimeout):
        send(backend)
    assert cloud.count_requests(method, path) == 1


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"X-Openstack-Request-Id": REQUEST_ID}, errors.BackendUnavailable),
        ({}, errors.BackendTimeout),
    ],
)
def test_change_during_an_outage_of_keystone_is_not_done(
    cloud: FakeOpenStack,
    backend: OpenStackBackend,
    headers: dict[str, str],
    error: type[errors.VmapiError],
) -> None:
    method, path, send = CALLS["create"]
    page = "<html>The Keystone service is temporarily unavailable.</html>"
    cloud.reply_to(method, path, Reply(503, page, headers))
    with pytest.raises(error):
        send(backend)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (
            "Multiple security groups found matching 'web'. Use an ID to be more specific.",
            errors.SecurityGroupAmbiguous,
        ),
        ("Multiple possible networks found, use a Network ID.", errors.NetworkAmbiguous),
        ("Port 4c3bde53 is still in use.", errors.ValidationFailed),
        (f"Instance {SERVER_ID} is locked", errors.ValidationFailed),
    ],
)
def test_conflict_of_a_create_is_not_about_a_vm(
    cloud: FakeOpenStack,
    backend: OpenStackBackend,
    message: str,
    error: type[errors.VmapiError],
) -> None:
    method, path, send = CALLS["create"]
    cloud.reply_to(method, path, fault(409, message))
    with pytest.raises(error) as caught:
        send(backend)
    assert caught.type is error
