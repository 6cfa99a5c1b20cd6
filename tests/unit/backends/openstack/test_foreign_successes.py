"""Responses below 300 to changes, and the clock of the cloud: only Nova's own count."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tests.support.fake_openstack import (
    NOVA_PATH,
    REQUEST_ID,
    SERVER_ID,
    SERVER_PATH,
    FakeOpenStack,
    Reply,
    server_reply,
)
from tests.support.openstack_calls import CALLS, CHANGES
from vmapi import errors
from vmapi.backends.openstack.driver import OpenStackBackend

CHANGES_WITHOUT_BODY = ("stop", "delete", "removal")
SUCCESSES = (200, 201, 202, 203, 299)
LIST_PATH = f"{NOVA_PATH}/servers"


@pytest.mark.parametrize("call", CHANGES)
@pytest.mark.parametrize(
    ("content", "is_marked"),
    [
        (None, False),
        ("<html>Please log in</html>", False),
        ({"server": {"id": SERVER_ID}, "metadata": {}}, False),
        ("<html>Please log in</html>", True),
        (["server"], True),
    ],
)
def test_success_without_the_marks_of_nova_is_an_unknown_outcome(
    cloud: FakeOpenStack, backend: OpenStackBackend, call: str, content: object, is_marked: bool
) -> None:
    method, path, send = CALLS[call]
    cloud.reply_to("GET", SERVER_PATH, server_reply("ACTIVE", metadata={"b": "2"}))
    headers = {"X-Openstack-Request-Id": REQUEST_ID} if is_marked else {}
    for status in SUCCESSES:
        cloud.reply_to(method, path, Reply(status, content, headers, is_marked=False))
        cloud.requests.clear()
        if is_marked and call in CHANGES_WITHOUT_BODY:
            send(backend)
        else:
            with pytest.raises(errors.BackendTimeout) as caught:
                send(backend)
            assert not caught.value.backend_unresponsive
        assert cloud.count_requests(method, path) == 1


@pytest.mark.parametrize("is_marked", [False, True])
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"servers": []}),
        (404, {"itemNotFound": {"code": 404, "message": "No such thing."}}),
        (503, {"serviceUnavailable": {"code": 503, "message": "Busy."}}),
    ],
)
def test_only_nova_sets_the_clock_of_the_cloud(
    cloud: FakeOpenStack, backend: OpenStackBackend, status: int, body: object, is_marked: bool
) -> None:
    ahead = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    headers = {"Date": ahead, "Retry-After": "1"}
    cloud.reply_to("GET", LIST_PATH, Reply(status, body, headers, is_marked=is_marked))
    with suppress(errors.VmapiError):
        backend.ping()
    is_ahead = backend.cloud_time() > datetime.now(UTC) + timedelta(minutes=30)
    assert is_ahead is is_marked
