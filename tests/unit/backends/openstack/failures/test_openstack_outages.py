"""The OpenStack driver and services that are unreachable, refuse the login, or are missing."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tests.support.driver_calls import (
    ACTION_PATH,
    HTML,
    LATE_SECONDS,
    SERVERS_PATH,
    UNAVAILABLE_PAGE,
    Call,
    connect,
    create,
    get,
    stop,
)
from tests.support.fake_openstack import (
    ACCEPTED,
    SERVER_ID,
    SERVER_PATH,
    FakeOpenStack,
    Reaction,
    Reply,
    ResetConnection,
    Stall,
    serve_openstack,
)
from vmapi import errors
from vmapi.backends.openstack.driver import OpenStackBackend


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
        nova.reply_to("GET", SERVERS_PATH, Reply(200, {"servers": []}))
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
    assert time.monotonic() - started_at < LATE_SECONDS
    is_stalled = isinstance(reaction, Stall)
    assert not is_stalled or cloud.count_requests("POST", "/identity/v3/auth/tokens") == 1
    assert not cloud.count_requests("POST", ACTION_PATH)


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
    assert time.monotonic() - started_at < LATE_SECONDS


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
    cloud.reply_to("POST", ACTION_PATH, Reply(401, {"error": {"message": "no", "code": 401}}))
    cloud.reply_to("GET", SERVER_PATH, Reply(401, {"error": {"message": "no", "code": 401}}))
    with pytest.raises(errors.BackendUnavailable, match="credentials"):
        call(backend)
    assert cloud.count_requests("POST", ACTION_PATH) + cloud.count_requests("GET", SERVER_PATH) == 2


def test_revoked_token_is_renewed_once_for_all_threads(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    backend.get_vm(SERVER_ID)
    cloud.reply_to("POST", ACTION_PATH, ACCEPTED)
    logins = cloud.count_requests("POST", "/identity/v3/auth/tokens")
    cloud.revoke_tokens()
    barrier = Barrier(16)

    def call_together(number: int) -> object:
        barrier.wait()
        return get(backend) if number % 2 else stop(backend)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(call_together, range(16)))
    assert cloud.count_requests("POST", "/identity/v3/auth/tokens") == logins + 1
    assert cloud.count_requests("POST", ACTION_PATH) <= 16


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
    cloud.reply_to("GET", SERVER_PATH, Reply(200, {"server": server}))
    cloud.reply_to("GET", "/image/v2/images", Reply(500, "<html>"))
    for _ in range(3):
        assert backend.get_vm(SERVER_ID).image == "img"
    assert cloud.count_requests("GET", "/image/v2/images") == 1
    with pytest.raises(errors.BackendError):
        backend.list_images()


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
        if SERVER_PATH in request.path
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
