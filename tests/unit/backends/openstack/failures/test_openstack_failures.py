"""The OpenStack driver with a failing cloud: errors, retries and timeouts."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import structlog

from tests.support.driver_calls import (
    ACTION_PATH,
    HTML,
    LATE_SECONDS,
    SERVERS_PATH,
    UNAVAILABLE_PAGE,
    Call,
    create,
    stop,
)
from tests.support.fake_openstack import (
    REQUEST_ID,
    SERVER_ID,
    SERVER_NOT_FOUND,
    SERVER_PATH,
    FakeOpenStack,
    Reaction,
    Reply,
    ResetConnection,
    Stall,
)
from vmapi import errors
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.backends.openstack.failures.exceptions import OutcomeUnproven, RequestsThrottled
from vmapi.domain.lifecycle import Verb

CHANGES: list[tuple[Reaction, type[errors.VmapiError]]] = [
    (ResetConnection(), errors.BackendTimeout),
    (Stall(), errors.BackendTimeout),
    (Reply(502, UNAVAILABLE_PAGE), errors.BackendTimeout),
    (Reply(504, UNAVAILABLE_PAGE), errors.BackendTimeout),
    (Reply(202, {"server": {"id": SERVER_ID}}, half=True), errors.BackendTimeout),
    (Reply(503, UNAVAILABLE_PAGE), errors.BackendTimeout),
    (Reply(500, UNAVAILABLE_PAGE), errors.BackendTimeout),
    (Reply(503, {"serviceUnavailable": {"message": "later"}}), errors.BackendUnavailable),
    (Reply(429, {"overLimit": {"message": "slowly"}}), RequestsThrottled),
    (Reply(413, {"overLimit": {"message": "slowly"}}), RequestsThrottled),
    (Reply(500, {"computeFault": {"message": "Unexpected"}}), errors.BackendError),
    (Reply(302, None, {"Location": "/elsewhere"}), OutcomeUnproven),
]


@pytest.mark.parametrize("call", [stop, create])
@pytest.mark.parametrize(("reaction", "error"), CHANGES)
def test_failed_change_is_sent_once(
    cloud: FakeOpenStack,
    impatient_backend: OpenStackBackend,
    call: Call,
    reaction: Reaction,
    error: type[errors.VmapiError],
) -> None:
    impatient_backend.ping()
    path = ACTION_PATH if call is stop else SERVERS_PATH
    cloud.reply_to("POST", path, reaction)
    with pytest.raises(error) as caught:
        call(impatient_backend)
    assert caught.type is error
    assert cloud.count_requests("POST", path) == 1
    assert "hunter2" not in caught.value.detail
    assert "127.0.0.1" not in caught.value.detail


@pytest.mark.parametrize("shape", [HTML, Reply(202, "{"), Reply(202, []), Reply(202, {})])
def test_create_with_an_unreadable_response_has_an_unknown_outcome(
    cloud: FakeOpenStack, impatient_backend: OpenStackBackend, shape: Reply
) -> None:
    cloud.reply_to("POST", SERVERS_PATH, shape)
    with pytest.raises(errors.BackendTimeout):
        create(impatient_backend)
    assert cloud.count_requests("POST", SERVERS_PATH) == 1


READS: list[tuple[Reaction, type[errors.VmapiError], int]] = [
    (ResetConnection(), errors.BackendUnavailable, 3),
    (Reply(503, UNAVAILABLE_PAGE), errors.BackendUnavailable, 3),
    (Reply(503, UNAVAILABLE_PAGE, {"Retry-After": "99"}), errors.BackendUnavailable, 1),
    (Reply(429, UNAVAILABLE_PAGE), RequestsThrottled, 1),
    (Reply(502, UNAVAILABLE_PAGE), errors.BackendError, 3),
    (Reply(504, UNAVAILABLE_PAGE), errors.BackendError, 1),
    (Reply(500, {"computeFault": {"message": "Unexpected"}}), errors.BackendError, 1),
    (HTML, errors.BackendError, 1),
    (Reply(200, '{"server": {"id"'), errors.BackendError, 1),
    (Reply(200, {"server": {"id": SERVER_ID}}, half=True), errors.BackendError, 1),
    (Reply(200, {"servers": []}), errors.BackendError, 1),
    (Reply(200, {"server": []}), errors.BackendError, 1),
    (Reply(200, {"server": {"status": "ACTIVE"}}), errors.BackendError, 1),
    (Reply(200, {"server": {"id": SERVER_ID, "created": "yesterday"}}), errors.BackendError, 1),
    (Reply(200, []), errors.BackendError, 1),
    (SERVER_NOT_FOUND, errors.VMNotFound, 1),
    (Reply(200, {"server": {"id": SERVER_ID, "status": "DELETED"}}), errors.VMNotFound, 1),
]


@pytest.mark.parametrize(("reaction", "error", "times"), READS)
def test_read_is_retried_after_a_fast_failure(
    cloud: FakeOpenStack,
    backend: OpenStackBackend,
    reaction: Reaction,
    error: type[errors.VmapiError],
    times: int,
) -> None:
    cloud.reply_to("GET", SERVER_PATH, reaction)
    with pytest.raises(error) as caught:
        backend.get_vm(SERVER_ID)
    assert caught.type is error
    assert cloud.count_requests("GET", SERVER_PATH) == times


@pytest.mark.parametrize(
    "transient", [ResetConnection(), Reply(503, UNAVAILABLE_PAGE), Reply(502, UNAVAILABLE_PAGE)]
)
def test_read_succeeds_after_one_transient_failure(
    cloud: FakeOpenStack, backend: OpenStackBackend, transient: Reaction
) -> None:
    cloud.reply_to(
        "GET", SERVER_PATH, transient, Reply(200, {"server": {"id": SERVER_ID, "status": "ACTIVE"}})
    )
    assert backend.get_vm(SERVER_ID).id == SERVER_ID


def test_slow_read_is_not_retried(
    cloud: FakeOpenStack, impatient_backend: OpenStackBackend
) -> None:
    impatient_backend.ping()
    cloud.reply_to("GET", SERVER_PATH, Stall())
    with pytest.raises(errors.BackendTimeout):
        impatient_backend.get_vm(SERVER_ID)
    assert cloud.count_requests("GET", SERVER_PATH) == 1


def test_timeout_covers_all_requests_of_a_call(
    cloud: FakeOpenStack, impatient_backend: OpenStackBackend
) -> None:
    cloud.reply_to(
        "POST", ACTION_PATH, Reply(409, {"conflictingRequest": {"message": "not ready"}})
    )
    cloud.reply_to("GET", SERVER_PATH, Stall())
    impatient_backend.ping()
    started_at = time.monotonic()
    with pytest.raises(errors.BackendTimeout):
        impatient_backend.perform_action(SERVER_ID, Verb.START)
    assert time.monotonic() - started_at < LATE_SECONDS
    assert cloud.count_requests("GET", SERVER_PATH) == 1


def test_retry_after_is_parsed_and_bounded(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    backend.ping()
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=42), usegmt=True)
    past = format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)
    unavailable = errors.BackendUnavailable
    replies = {
        "17": 17,
        soon: 42,
        past: 1,
        "0": 1,
        "86400": 300,
        "soon": 5,
        "-1": 5,
        "9" * 400: 300,
    }
    for text, seconds in replies.items():
        for status, fault in ((429, "overLimit"), (503, "serviceUnavailable")):
            for body in ({fault: {"message": "later"}}, UNAVAILABLE_PAGE):
                cloud.reply_to("POST", ACTION_PATH, Reply(status, body, {"Retry-After": text}))
                expected = errors.BackendTimeout if body is UNAVAILABLE_PAGE else unavailable
                with pytest.raises(expected) as caught:
                    stop(backend)
                assert caught.value.retry_after is not None
                assert abs(caught.value.retry_after - seconds) <= 1, text


@pytest.mark.parametrize(
    ("request_id", "header"),
    [(REQUEST_ID, REQUEST_ID), ("my-request-id", None), ("req-é", None), (7, None)],
)
def test_request_id_is_sent_if_openstack_accepts_its_form(
    cloud: FakeOpenStack, backend: OpenStackBackend, request_id: object, header: str | None
) -> None:
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        backend.get_vm(SERVER_ID)
    (request,) = (request for request in cloud.requests if request.path == SERVER_PATH)
    assert request.headers.get("X-Openstack-Request-Id") == header
