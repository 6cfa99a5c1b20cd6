"""Delegated changes of the OpenStack driver, with the token of the caller."""

from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.fake_openstack import (
    REQUEST_ID,
    SERVER_ID,
    SERVER_NOT_FOUND,
    FakeOpenStack,
    Reply,
    Stall,
)
from tests.support.keystone_projects import (
    ACCEPTED_CHANGE,
    ALICE,
    CHANGES,
    FORBIDDEN_BY_POLICY,
    SERVER,
    SERVERS,
    SPEC_IN_PROJECT_A,
    TOKEN,
    TOKENS,
    requests_with_token,
)
from vmapi import errors
from vmapi.backends.base import AcceptedAction
from vmapi.backends.openstack.connection.endpoints import (
    CREDENTIALS_REFUSED_DETAIL,
    ServiceEndpoint,
)
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.backends.openstack.servers.commands import HIDDEN_VM_DETAIL
from vmapi.domain.lifecycle import Verb
from vmapi.settings.settings import Settings


@pytest.mark.parametrize("name", CHANGES)
def test_change_is_sent_with_the_callers_token_only(
    cloud: FakeOpenStack, backend: OpenStackBackend, name: str
) -> None:
    backend.ping()
    logins = cloud.count_requests("POST", TOKENS)
    change, request = CHANGES[name]
    change(backend)
    assert requests_with_token(cloud) == [request]
    assert cloud.count_requests("POST", TOKENS) == logins
    assert cloud.count_requests("GET", TOKENS) == 0


def test_body_for_status_is_sent_with_the_callers_token(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    wrong_state = Reply(
        409, {"conflictingRequest": {"message": f"Instance {SERVER_ID} is not ready"}}
    )
    cloud.reply_to("POST", f"{SERVER}/action", wrong_state, ACCEPTED_CHANGE)
    cloud.reply_to("GET", SERVER, Reply(200, {"server": {"id": SERVER_ID, "status": "SHELVED"}}))
    assert backend.perform_action(SERVER_ID, Verb.START, caller_token=ALICE) == AcceptedAction(
        SERVER_ID, REQUEST_ID
    )
    assert requests_with_token(cloud) == [("POST", f"{SERVER}/action")] * 2


def test_change_without_caller_token_uses_the_service_account(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    backend.perform_action(SERVER_ID, Verb.STOP)
    assert requests_with_token(cloud, "token-1")[-1] == ("POST", f"{SERVER}/action")


@pytest.mark.parametrize("name", CHANGES)
def test_refused_caller_token_is_not_sent_again(
    cloud: FakeOpenStack, backend: OpenStackBackend, name: str
) -> None:
    cloud.valid_tokens.discard(TOKEN)
    change, request = CHANGES[name]
    with pytest.raises(errors.Unauthenticated) as caught:
        change(backend)
    assert (caught.value.detail, caught.value.credentials_sent) == (
        CREDENTIALS_REFUSED_DETAIL,
        True,
    )
    assert requests_with_token(cloud) == [request]
    assert cloud.count_requests("POST", TOKENS) == 1


@pytest.mark.parametrize("name", CHANGES)
def test_change_refused_by_policy_is_not_sent_as_the_service_account(
    cloud: FakeOpenStack, backend: OpenStackBackend, name: str
) -> None:
    change, request = CHANGES[name]
    cloud.reply_to(*request, FORBIDDEN_BY_POLICY)
    with pytest.raises(errors.Forbidden, match="Policy doesn't allow it"):
        change(backend)
    assert cloud.count_requests(*request) == 1


@pytest.mark.parametrize("name", ["stop", "delete", "rename", "metadata"])
def test_server_hidden_from_the_caller_is_forbidden(
    cloud: FakeOpenStack, backend: OpenStackBackend, name: str
) -> None:
    change, request = CHANGES[name]
    cloud.reply_to(*request, SERVER_NOT_FOUND)
    server = {"id": SERVER_ID, "status": "BUILD", "tenant_id": "another", "metadata": {}}
    cloud.reply_to("GET", SERVER, Reply(200, {"server": server}))
    with pytest.raises(errors.Forbidden) as caught:
        change(backend)
    assert caught.value.detail == HIDDEN_VM_DETAIL
    # a server that vmapi cannot see either is not found
    cloud.reply_to("GET", SERVER, SERVER_NOT_FOUND)
    with pytest.raises(errors.VMNotFound):
        change(backend)
    # a server of the project of the caller may be deleted at any time
    cloud.reply_to("GET", SERVER, Reply(200, {"server": {**server, "tenant_id": "project-a"}}))
    with pytest.raises(errors.InvalidState if name == "stop" else errors.VMNotFound):
        change(backend)


def test_delegated_change_with_a_lost_response_is_not_repeated(
    cloud: FakeOpenStack, keystone_settings: Settings
) -> None:
    backend = OpenStackBackend.from_settings(replace(keystone_settings, backend_timeout=1.0))
    backend.ping()
    cloud.reply_to("POST", f"{SERVER}/action", Stall())
    with pytest.raises(errors.BackendTimeout):
        backend.perform_action(SERVER_ID, Verb.STOP, caller_token=ALICE)
    backend.close()
    assert cloud.count_requests("POST", f"{SERVER}/action") == 1


def test_caller_token_is_not_logged(
    cloud: FakeOpenStack, backend: OpenStackBackend, caplog: pytest.LogCaptureFixture
) -> None:
    cloud.reply_to("POST", f"{SERVER}/action", Reply(500, "no"))
    with caplog.at_level("DEBUG"), capture_logs() as logs:
        backend.create_vm(SPEC_IN_PROJECT_A, "op-1", caller_token=ALICE)
        with pytest.raises(errors.BackendTimeout) as caught:
            backend.perform_action(SERVER_ID, Verb.STOP, caller_token=ALICE)
    output = caplog.text + str(logs) + repr(caught.value) + caught.value.detail
    assert TOKEN not in output
    assert "X-Auth-Token" not in caplog.text.split(SERVERS)[-1]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://nova/v2.1", "http://nova/v2.1"),
        ("http://nova/v2.1/project-s", "http://nova/v2.1/project-a"),
        ("http://project-s/v2/project-s-2/project-s", "http://project-s/v2/project-s-2/project-a"),
    ],
)
def test_project_id_in_the_url_is_the_callers(url: str, expected: str) -> None:
    endpoint: Any = ServiceEndpoint(None, url, "2.84", "project-s")
    assert endpoint.url_for_project(ALICE.project) == expected
