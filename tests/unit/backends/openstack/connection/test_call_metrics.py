"""Requests to OpenStack are counted by service, call and status."""

import pytest

from tests.support.fake_openstack import SERVER_ID, SERVER_PATH, FakeOpenStack, Reply
from tests.support.metrics import RecordedMetrics
from vmapi import errors
from vmapi.backends.openstack.connection.call_metrics import call_name
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.domain.lifecycle import Verb

COUNT = "vmapi_openstack_request_duration_seconds_count"


@pytest.mark.parametrize(
    ("method", "path", "body", "name"),
    [
        ("GET", "/servers/detail", None, "GET /servers/detail"),
        ("GET", f"/servers/{SERVER_ID}", None, "GET /servers/{id}"),
        ("POST", "/servers", {"server": {}}, "POST /servers"),
        ("POST", "/servers/1/action", {"os-stop": None}, "POST /servers/{id}/action os-stop"),
        ("DELETE", "/servers/1/metadata/owner", None, "DELETE /servers/{id}/metadata/{id}"),
        ("GET", "/flavors/m1.tiny/os-flavor-access", None, "GET /flavors/{id}/os-flavor-access"),
        ("GET", "/images?marker=a/b", None, "GET /images"),
    ],
)
def test_name_of_a_call_has_no_ids(method: str, path: str, body: object, name: str) -> None:
    assert call_name(method, path, body) == name


def test_read_and_its_login_are_counted(
    backend: OpenStackBackend, metrics: RecordedMetrics
) -> None:
    backend.get_vm(SERVER_ID)
    call = {"service": "compute", "call": "GET /servers/{id}", "status": "200"}
    assert metrics.sum(COUNT, **call) == 1
    login = {"service": "identity", "call": "POST /auth/tokens", "status": "201"}
    assert metrics.sum(COUNT, **login) == 1


def test_refused_action_is_counted_by_its_status(
    cloud: FakeOpenStack, backend: OpenStackBackend, metrics: RecordedMetrics
) -> None:
    refusal = Reply(403, {"forbidden": {"code": 403, "message": "Policy doesn't allow it."}})
    cloud.reply_to("POST", f"{SERVER_PATH}/action", refusal)
    with pytest.raises(errors.Forbidden):
        backend.perform_action(SERVER_ID, Verb.STOP)
    call = {"call": "POST /servers/{id}/action os-stop", "status": "403"}
    assert metrics.sum(COUNT, **call) == 1


def test_call_without_a_response_has_no_status(
    cloud: FakeOpenStack, backend: OpenStackBackend, metrics: RecordedMetrics
) -> None:
    backend.get_vm(SERVER_ID)
    cloud.reply_to("POST", f"{SERVER_PATH}/action", Reply(202, {"a": "b"}, half=True))
    with pytest.raises(errors.BackendTimeout):
        backend.perform_action(SERVER_ID, Verb.STOP)
    assert metrics.sum(COUNT, call="POST /servers/{id}/action os-stop", status="none") == 1
