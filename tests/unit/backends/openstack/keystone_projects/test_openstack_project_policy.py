"""Creates of the OpenStack driver with Keystone projects."""

from dataclasses import replace

import pytest

from tests.support.fake_openstack import (
    REQUEST_ID,
    SERVER_ID,
    SPEC,
    FakeOpenStack,
    Reply,
)
from tests.support.keystone_projects import (
    ALICE,
    FORBIDDEN_BY_POLICY,
    SERVERS,
    SPEC_IN_PROJECT_A,
    TOKEN,
)
from vmapi import errors
from vmapi.backends.base import AcceptedAction
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.backends.openstack.projects import (
    CREDENTIALS_REQUIRED_DETAIL,
    PROJECT_NOT_VISIBLE_DETAIL,
)
from vmapi.domain.access.identity import CallerToken


def test_create_in_the_service_project_needs_no_token(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    backend.check_create("p", None)
    assert backend.create_vm(replace(SPEC, project="p"), "op-1") == AcceptedAction(
        SERVER_ID, REQUEST_ID
    )


def test_create_in_another_project_needs_a_caller_token(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    backend.check_create("project-a", ALICE)
    for refused in (
        lambda: backend.check_create("project-a", None),
        lambda: backend.create_vm(SPEC_IN_PROJECT_A, "op-1"),
        lambda: backend.create_vm(SPEC, "op-1"),
    ):
        with pytest.raises(errors.Forbidden) as caught:
            refused()
        assert caught.value.detail == CREDENTIALS_REQUIRED_DETAIL
    assert cloud.count_requests("POST", SERVERS) == 0


def test_create_in_an_invisible_project_is_forbidden(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    cloud.reply_to("GET", SERVERS, FORBIDDEN_BY_POLICY, Reply(200, {"servers": []}))
    for refused in (
        lambda: backend.check_create("project-a", ALICE),
        lambda: backend.create_vm(SPEC_IN_PROJECT_A, "op-1", caller_token=ALICE),
    ):
        with pytest.raises(errors.Forbidden) as caught:
            refused()
        assert caught.value.detail == PROJECT_NOT_VISIBLE_DETAIL
    backend.check_create("p", CallerToken(TOKEN, "p"))
    assert cloud.count_requests("POST", SERVERS) == 0
