"""The servers that the OpenStack driver sees with Keystone projects."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.fake_openstack import (
    SERVER_ID,
    FakeOpenStack,
    Reply,
)
from tests.support.keystone_projects import (
    ALICE,
    DETAIL,
    FORBIDDEN_BY_POLICY,
    SERVERS,
    SPEC_IN_PROJECT_A,
    list_queries,
)
from vmapi import errors
from vmapi.app import create_app
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.backends.openstack.servers.visibility import (
    ALL_PROJECTS_VISIBLE,
    ALL_TENANTS_REFUSED,
    ALL_TENANTS_RETRY_INTERVAL,
    OWN_PROJECT_VISIBLE,
    TenantVisibility,
)
from vmapi.settings.settings import Settings


def test_project_of_a_vm_is_its_keystone_project(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    metadata = {"vmapi.project": "web"}
    server = {"id": SERVER_ID, "status": "ACTIVE", "tenant_id": "project-a", "metadata": metadata}
    cloud.reply_to("GET", DETAIL, Reply(200, {"servers": [server, {**server, "tenant_id": "p"}]}))
    assert [vm.project for vm in backend.list_vms()] == ["project-a", "p"]
    cloud.reply_to("GET", DETAIL, Reply(200, {"servers": [{"id": SERVER_ID, "status": "UNKNOWN"}]}))
    assert [vm.project for vm in backend.list_vms()] == [None]
    assert backend.get_vm(SERVER_ID).project == "project-a"


def test_server_gets_no_project_metadata(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    backend.create_vm(SPEC_IN_PROJECT_A, "op-1", caller_token=ALICE)
    assert cloud.requests[-1].body["server"]["metadata"] == {"a": "b"}


def test_servers_of_all_projects_are_requested(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    backend.list_vms()
    backend.list_vms(name="web-1")
    backend.list_changed_since(datetime(2026, 1, 1, tzinfo=UTC))
    cloud.reply_to("GET", DETAIL, Reply(200, {"servers": []}))
    assert backend.find_created_vm("op-1") is None
    assert [query.pop("all_tenants") for query in list_queries(cloud)] == [["1"]] * 4
    backend.ping()
    assert list_queries(cloud, SERVERS) == [{"limit": ["1"], "all_tenants": ["1"]}]
    assert backend.describe()["sees"] == ALL_PROJECTS_VISIBLE


def test_servers_of_the_service_project_are_requested_without_keystone(
    cloud: FakeOpenStack, backend: OpenStackBackend, keystone_settings: Settings
) -> None:
    other = OpenStackBackend.from_settings(replace(keystone_settings, auth=("token", "jwt")))
    assert [vm.project for vm in other.list_vms()] == ["web"]
    assert list_queries(cloud) == [{}]
    assert other.describe()["sees"] == OWN_PROJECT_VISIBLE
    other.check_create("any", None)
    other.close()


def test_own_servers_are_listed_when_nova_refuses_all_tenants(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    assert backend.describe()["sees"] == "not asked yet"
    cloud.reply_to("GET", DETAIL, FORBIDDEN_BY_POLICY, Reply(200, {"servers": []}))
    with capture_logs() as logs:
        backend.list_vms()
        backend.list_vms()
    assert [query.get("all_tenants") for query in list_queries(cloud)] == [["1"], None, None]
    assert backend.describe()["sees"] == ALL_TENANTS_REFUSED
    (line,) = logs
    assert (line["event"], line["log_level"]) == (
        "VMs of other projects are not visible",
        "warning",
    )
    assert "Policy doesn't allow it" in line["reason"]


def test_check_command_shows_the_visible_projects(
    cloud: FakeOpenStack, backend: OpenStackBackend, keystone_settings: Settings
) -> None:
    cloud.reply_to("GET", SERVERS, FORBIDDEN_BY_POLICY, Reply(200, {"servers": []}))
    app = create_app(replace(keystone_settings, log_level="CRITICAL"), backend)
    with app.app_context():
        result = app.test_cli_runner().invoke(args=["check"])
    lines = result.output.splitlines()
    assert (result.exit_code, lines[-1]) == (0, "the cloud answers")
    assert f"{'sees':<26} {ALL_TENANTS_REFUSED}" in lines
    assert f"{'microversion':<26} 2.84" in lines


def test_refusal_of_own_servers_is_forbidden(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    cloud.reply_to("GET", DETAIL, FORBIDDEN_BY_POLICY)
    with pytest.raises(errors.Forbidden):
        backend.list_vms()
    assert len(list_queries(cloud)) == 2


def test_all_tenants_is_requested_again_after_an_interval() -> None:
    now, scopes = [0.0], []
    is_refused = [True]

    def send(scope: Any) -> None:
        scopes.append(dict(scope))
        if scope and is_refused[0]:
            raise errors.Forbidden("no")

    visibility = TenantVisibility(all_projects=True, monotonic=lambda: now[0])
    all_tenants = {"all_tenants": "1"}
    visibility.query(send)
    now[0] = ALL_TENANTS_RETRY_INTERVAL - 0.1
    visibility.query(send)
    assert scopes == [all_tenants, {}, {}]
    now[0], is_refused[0] = ALL_TENANTS_RETRY_INTERVAL, False
    visibility.query(send)
    visibility.query(send)
    assert scopes[3:] == [all_tenants] * 2
    assert visibility.sees_all_projects(send)
    assert len(scopes) == 5
