"""The OpenStack driver with a failing cloud: errors, retries and timeouts."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from threading import Barrier

import pytest
import structlog

from tests.support.fake_openstack import (
    REQUEST_ID,
    SERVER_ID,
    SERVER_NOT_FOUND,
    FakeOpenStack,
    Reaction,
    Reply,
    ResetConnection,
    Stall,
    serve_openstack,
)
from vmapi import errors
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.backends.openstack.failures import OutcomeUnproven, RequestsThrottled
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import CreateSpec
from vmapi.settings.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")

SERVER = f"/compute/v2.1/servers/{SERVER_ID}"
ACTION = f"{SERVER}/action"
SERVERS = "/compute/v2.1/servers"
TIMEOUT = 1.0
LONG_TIMEOUT = 30.0
ACCEPTED = Reply(202, None, {"X-Openstack-Request-Id": REQUEST_ID})
SPEC = CreateSpec("web-1", "1", SERVER_ID, SERVER_ID, {}, b"secret-data", None, ())
HTML = Reply(200, "<html><body>Welcome</body></html>", {"Content-Type": "text/html"})
UNAVAILABLE_PAGE = "<html><head><title>503 Service Unavailable</title></head></html>"


@pytest.fixture
def cloud() -> Iterator[FakeOpenStack]:
    with serve_openstack() as cloud:
        cloud.reply_to("GET", SERVER, Reply(200, {"server": {"id": SERVER_ID, "status": "ACTIVE"}}))
        cloud.reply_to("GET", "/image/v2/images", Reply(200, {"images": []}))
        cloud.reply_to("GET", SERVERS, Reply(200, {"servers": []}))
        yield cloud


@pytest.fixture
def backend(cloud: FakeOpenStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenStackBackend]:
    """A driver with a timeout longer than any reply here."""
    backend = connect(cloud.url, monkeypatch, LONG_TIMEOUT)
    yield backend
    backend.close()


@pytest.fixture
def impatient_backend(
    cloud: FakeOpenStack, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OpenStackBackend]:
    """A driver with a timeout of a second."""
    backend = connect(cloud.url, monkeypatch)
    yield backend
    backend.close()


def connect(
    url: str, monkeypatch: pytest.MonkeyPatch, timeout: float = TIMEOUT
) -> OpenStackBackend:
    for name in ("OS_CLOUD", "OS_AUTH_URL", "OS_REGION_NAME"):
        monkeypatch.delenv(name, raising=False)
    return OpenStackBackend.from_settings(
        Settings(
            openstack_auth_url=f"{url}/identity/v3",
            openstack_username="u",
            openstack_password="hunter2",
            openstack_project="p",
            backend_timeout=timeout,
            threads=16,
        )
    )


def stop(backend: OpenStackBackend) -> object:
    return backend.perform_action(SERVER_ID, Verb.STOP)


def create(backend: OpenStackBackend) -> object:
    return backend.create_vm(SPEC, "op")


def get(backend: OpenStackBackend) -> object:
    return backend.get_vm(SERVER_ID)


Call = Callable[[OpenStackBackend], object]

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
    path = ACTION if call is stop else SERVERS
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
    cloud.reply_to("POST", SERVERS, shape)
    with pytest.raises(errors.BackendTimeout):
        create(impatient_backend)
    assert cloud.count_requests("POST", SERVERS) == 1


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
    cloud.reply_to("GET", SERVER, reaction)
    with pytest.raises(error) as caught:
        backend.get_vm(SERVER_ID)
    assert caught.type is error
    assert cloud.count_requests("GET", SERVER) == times


@pytest.mark.parametrize(
    "transient", [ResetConnection(), Reply(503, UNAVAILABLE_PAGE), Reply(502, UNAVAILABLE_PAGE)]
)
def test_read_succeeds_after_one_transient_failure(
    cloud: FakeOpenStack, backend: OpenStackBackend, transient: Reaction
) -> None:
    cloud.reply_to(
        "GET", SERVER, transient, Reply(200, {"server": {"id": SERVER_ID, "status": "ACTIVE"}})
    )
    assert backend.get_vm(SERVER_ID).id == SERVER_ID


def test_slow_read_is_not_retried(
    cloud: FakeOpenStack, impatient_backend: OpenStackBackend
) -> None:
    impatient_backend.ping()
    cloud.reply_to("GET", SERVER, Stall())
    with pytest.raises(errors.BackendTimeout):
        impatient_backend.get_vm(SERVER_ID)
    assert cloud.count_requests("GET", SERVER) == 1


def test_timeout_covers_all_requests_of_a_call(
    cloud: FakeOpenStack, impatient_backend: OpenStackBackend
) -> None:
    cloud.reply_to("POST", ACTION, Reply(409, {"conflictingRequest": {"message": "not ready"}}))
    cloud.reply_to("GET", SERVER, Stall())
    impatient_backend.ping()
    started_at = time.monotonic()
    with pytest.raises(errors.BackendTimeout):
        impatient_backend.perform_action(SERVER_ID, Verb.START)
    assert time.monotonic() - started_at < TIMEOUT * 1.5


@pytest.mark.parametrize("call", [get, stop, create, OpenStackBackend.ping])
def test_unreachable_cloud_is_unavailable(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_openstack() as stopped:
        url = stopped.url
    impatient_backend = connect(url, monkeypatch)
    with pytest.raises(errors.BackendUnavailable):
        call(impatient_backend)


@pytest.mark.parametrize("call", [get, stop])
def test_unreachable_nova_is_unavailable_after_discovery(
    cloud: FakeOpenStack,
    impatient_backend: OpenStackBackend,
    call: Call,
) -> None:
    with serve_openstack() as nova:
        nova.valid_tokens = cloud.valid_tokens
        nova.reply_to("GET", SERVERS, Reply(200, {"servers": []}))
        cloud.compute_url = f"{nova.url}/compute/v2.1"
        impatient_backend.ping()
    with pytest.raises(errors.BackendUnavailable):
        call(impatient_backend)


@pytest.mark.parametrize("call", [get, stop])
@pytest.mark.parametrize(
    "reaction",
    [Stall(), ResetConnection(), Reply(503, UNAVAILABLE_PAGE), Reply(500, UNAVAILABLE_PAGE), HTML],
)
def test_failed_login_is_unavailable_and_sends_no_change(
    cloud: FakeOpenStack, impatient_backend: OpenStackBackend, call: Call, reaction: Reaction
) -> None:
    cloud.reply_to("POST", "/identity/v3/auth/tokens", reaction)
    started_at = time.monotonic()
    with pytest.raises(errors.BackendUnavailable):
        call(impatient_backend)
    assert time.monotonic() - started_at < TIMEOUT * 1.5
    assert not cloud.count_requests("POST", ACTION)


def test_stalled_login_delays_many_threads_no_longer_than_one(
    cloud: FakeOpenStack, impatient_backend: OpenStackBackend
) -> None:
    cloud.reply_to("POST", "/identity/v3/auth/tokens", Stall())
    started_at = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        failures = [
            call.exception()
            for call in [pool.submit(impatient_backend.get_vm, SERVER_ID) for _ in range(16)]
        ]
    assert {type(failure) for failure in failures} == {errors.BackendUnavailable}
    assert time.monotonic() - started_at < TIMEOUT * 3


def test_refused_credentials_are_unavailable_and_forbidden_for_ping(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    refused = Reply(401, {"error": {"message": "The request you have made …", "code": 401}})
    cloud.reply_to("POST", "/identity/v3/auth/tokens", refused)
    for call in (get, stop):
        with pytest.raises(errors.BackendUnavailable, match="credentials"):
            call(backend)
    with pytest.raises(errors.Forbidden, match="credentials"):
        backend.ping()


@pytest.mark.parametrize("call", [get, stop])
def test_nova_that_refuses_every_token_is_unavailable(
    cloud: FakeOpenStack, backend: OpenStackBackend, call: Call
) -> None:
    backend.ping()
    cloud.reply_to("POST", ACTION, Reply(401, {"error": {"message": "no", "code": 401}}))
    cloud.reply_to("GET", SERVER, Reply(401, {"error": {"message": "no", "code": 401}}))
    with pytest.raises(errors.BackendUnavailable, match="credentials"):
        call(backend)
    assert cloud.count_requests("POST", ACTION) + cloud.count_requests("GET", SERVER) == 2


def test_revoked_token_is_renewed_once_for_all_threads(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    backend.get_vm(SERVER_ID)
    cloud.reply_to("POST", ACTION, ACCEPTED)
    logins = cloud.count_requests("POST", "/identity/v3/auth/tokens")
    cloud.revoke_tokens()
    barrier = Barrier(16)

    def call_together(number: int) -> object:
        barrier.wait()
        return get(backend) if number % 2 else stop(backend)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(call_together, range(16)))
    assert cloud.count_requests("POST", "/identity/v3/auth/tokens") == logins + 1
    assert cloud.count_requests("POST", ACTION) <= 16


def test_missing_service_is_a_backend_error(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    cloud.services.remove("network")
    with pytest.raises(errors.BackendError, match="no network service"):
        backend.list_networks()
    assert backend.get_vm(SERVER_ID).id == SERVER_ID


def test_vms_are_read_while_the_image_service_fails(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    server = {"id": SERVER_ID, "status": "ACTIVE", "image": {"id": "img"}}
    cloud.reply_to("GET", SERVER, Reply(200, {"server": server}))
    cloud.reply_to("GET", "/image/v2/images", Reply(500, "<html>"))
    for _ in range(3):
        assert backend.get_vm(SERVER_ID).image == "img"
    assert cloud.count_requests("GET", "/image/v2/images") == 1
    with pytest.raises(errors.BackendError):
        backend.list_images()


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
                cloud.reply_to("POST", ACTION, Reply(status, body, {"Retry-After": text}))
                expected = errors.BackendTimeout if body is UNAVAILABLE_PAGE else unavailable
                with pytest.raises(expected) as caught:
                    stop(backend)
                assert caught.value.retry_after is not None
                assert abs(caught.value.retry_after - seconds) <= 1, text


@pytest.mark.parametrize(("offered", "negotiated"), [("2.60", "2.60"), ("2.93", "2.84")])
def test_microversion_is_negotiated_once(
    cloud: FakeOpenStack, backend: OpenStackBackend, offered: str, negotiated: str
) -> None:
    cloud.microversion = offered
    backend.get_vm(SERVER_ID)
    assert backend.describe()["microversion"] == negotiated
    versions = {
        request.headers.get("OpenStack-API-Version")
        for request in cloud.requests
        if SERVER in request.path
    }
    assert versions == {f"compute {negotiated}"}
    assert cloud.count_requests("GET", "/compute/v2.1") == 1


def test_too_old_nova_is_a_backend_error(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    cloud.microversion = "2.51"
    with pytest.raises(errors.BackendError, match=r"2\.51 at most; vmapi needs 2\.52"):
        backend.get_vm(SERVER_ID)


def test_discovery_is_repeated_after_a_failure(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    cloud.reply_to("GET", "/compute/v2.1", Reply(503, UNAVAILABLE_PAGE))
    with pytest.raises(errors.BackendUnavailable):
        backend.get_vm(SERVER_ID)
    cloud.replies["GET", "/compute/v2.1"].clear()
    assert backend.get_vm(SERVER_ID).id == SERVER_ID
    assert backend.describe()["microversion"] == "2.84"


@pytest.mark.parametrize(
    ("request_id", "header"),
    [(REQUEST_ID, REQUEST_ID), ("my-request-id", None), ("req-é", None), (7, None)],
)
def test_request_id_is_sent_if_openstack_accepts_its_form(
    cloud: FakeOpenStack, backend: OpenStackBackend, request_id: object, header: str | None
) -> None:
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        backend.get_vm(SERVER_ID)
    (request,) = (request for request in cloud.requests if request.path == SERVER)
    assert request.headers.get("X-Openstack-Request-Id") == header
