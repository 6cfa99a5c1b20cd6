"""The OpenStack driver with Keystone projects: caller tokens and visible servers."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from structlog.testing import capture_logs

from tests.support.fake_openstack import (
    REQUEST_ID,
    SERVER_ID,
    SPEC,
    FakeOpenStack,
    Reply,
    Stall,
    openstack_settings,
    serve_openstack,
)
from vmapi import errors
from vmapi.app import create_app
from vmapi.backends.base import AcceptedAction, Backend
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.backends.openstack.endpoints import CREDENTIALS_REFUSED_DETAIL, ServiceEndpoint
from vmapi.backends.openstack.projects import (
    CREDENTIALS_REQUIRED_DETAIL,
    PROJECT_NOT_VISIBLE_DETAIL,
)
from vmapi.backends.openstack.server_commands import HIDDEN_VM_DETAIL
from vmapi.backends.openstack.visibility import (
    ALL_PROJECTS_VISIBLE,
    ALL_TENANTS_REFUSED,
    ALL_TENANTS_RETRY_INTERVAL,
    OWN_PROJECT_VISIBLE,
    TenantVisibility,
)
from vmapi.domain.identity import CallerToken
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import VMPatch
from vmapi.services.catalog import Catalog
from vmapi.settings.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")

NOVA, TOKENS = "/compute/v2.1", "/identity/v3/auth/tokens"
SERVERS = f"{NOVA}/servers"
SERVER, DETAIL = f"{SERVERS}/{SERVER_ID}", f"{SERVERS}/detail"
TOKEN = "gAAAAABalice"
ALICE = CallerToken(TOKEN, "project-a")
ACCEPTED_CHANGE = Reply(
    202, {"server": {"id": SERVER_ID}, "metadata": {}}, {"X-Openstack-Request-Id": REQUEST_ID}
)
FORBIDDEN_BY_POLICY = Reply(
    403, {"forbidden": {"message": "Policy doesn't allow it to be performed."}}
)
SPEC_IN_PROJECT_A = replace(SPEC, project="project-a")

Change = Callable[[Backend], object]
CHANGES: dict[str, tuple[Change, tuple[str, str]]] = {
    "create": (
        lambda cloud: cloud.create_vm(SPEC_IN_PROJECT_A, "op-1", caller_token=ALICE),
        ("POST", SERVERS),
    ),
    "stop": (
        lambda cloud: cloud.perform_action(SERVER_ID, Verb.STOP, caller_token=ALICE),
        ("POST", f"{SERVER}/action"),
    ),
    "delete": (
        lambda cloud: cloud.perform_action(SERVER_ID, Verb.DELETE, caller_token=ALICE),
        ("DELETE", SERVER),
    ),
    "rename": (
        lambda cloud: cloud.update_vm(SERVER_ID, VMPatch(name="web-2"), caller_token=ALICE),
        ("PUT", SERVER),
    ),
    "metadata": (
        lambda cloud: cloud.update_vm(SERVER_ID, VMPatch(metadata={"a": "1"}), caller_token=ALICE),
        ("PUT", f"{SERVER}/metadata"),
    ),
}


@pytest.fixture
def cloud() -> Iterator[FakeOpenStack]:
    with serve_openstack() as cloud:
        server = {"id": SERVER_ID, "status": "ACTIVE", "tenant_id": "project-a", "metadata": {}}
        cloud.reply_to("GET", SERVER, Reply(200, {"server": server}))
        cloud.reply_to("GET", SERVERS, Reply(200, {"servers": []}))
        cloud.reply_to("GET", DETAIL, Reply(200, {"servers": [server]}))
        cloud.reply_to("GET", "/image/v2/images", Reply(200, {"images": []}))
        for _, request in CHANGES.values():
            cloud.reply_to(*request, ACCEPTED_CHANGE)
        cloud.valid_tokens.add(TOKEN)
        yield cloud


@pytest.fixture
def keystone_settings(cloud: FakeOpenStack, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return replace(
        openstack_settings(cloud.url, monkeypatch), auth=("keystone",), default_project="web"
    )


@pytest.fixture
def backend(keystone_settings: Settings) -> Iterator[OpenStackBackend]:
    backend = OpenStackBackend.from_settings(keystone_settings)
    yield backend
    backend.close()


def requests_with_token(cloud: FakeOpenStack, token: str = TOKEN) -> list[tuple[str, str]]:
    """Return the requests that were sent with a token."""
    return [
        (request.method, request.path)
        for request in cloud.requests
        if request.headers.get("X-Auth-Token") == token
    ]


def list_queries(cloud: FakeOpenStack, path: str = DETAIL) -> list[dict[str, list[str]]]:
    """Return the query parameters of each request for a list."""
    urls = (urlsplit(request.path) for request in cloud.requests)
    return [parse_qs(url.query) for url in urls if url.path == path]


# Caller tokens


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
    cloud.reply_to(
        *request, Reply(404, {"itemNotFound": {"message": f"Instance {SERVER_ID} not found"}})
    )
    server = {"id": SERVER_ID, "status": "BUILD", "tenant_id": "another", "metadata": {}}
    cloud.reply_to("GET", SERVER, Reply(200, {"server": server}))
    with pytest.raises(errors.Forbidden) as caught:
        change(backend)
    assert caught.value.detail == HIDDEN_VM_DETAIL
    # a server that vmapi cannot see either is not found
    cloud.reply_to("GET", SERVER, Reply(404, {"itemNotFound": {"message": "no"}}))
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
        with pytest.raises(errors.BackendError) as caught:
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
    endpoint: Any = ServiceEndpoint(None, url, "2.84", "project-s")  # type: ignore[arg-type]
    assert endpoint.url_for_project(ALICE.project) == expected


# Visibility


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
    assert f"{'sees':<24} {ALL_TENANTS_REFUSED}" in lines
    assert f"{'microversion':<24} 2.84" in lines


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


# Projects in which VMs can be created


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


# Networks and images of a project


def network(name: str, project: str, **members: Any) -> dict[str, Any]:
    return {"id": f"id-{name}", "name": name, "project_id": project, "shared": False, **members}


def image(name: str, owner: str, visibility: str) -> dict[str, Any]:
    return {
        "id": f"id-{name}",
        "name": name,
        "status": "active",
        "owner": owner,
        "visibility": visibility,
    }


def test_networks_and_images_are_private_or_public(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    networks = [
        network("private", "project-a"),
        network("foreign", "p"),
        network("public", "p", shared=True, **{"router:external": True}),
    ]
    images = [
        image("debian", "p", "public"),
        image("community", "p", "community"),
        image("own", "project-a", "private"),
        image("shared", "project-a", "shared"),
        image("foreign", "p", "private"),
        image("foreign-too", "p", "shared"),
    ]
    cloud.reply_to("GET", "/network/v2.0/networks", Reply(200, {"networks": networks}))
    cloud.reply_to("GET", "/image/v2/images", Reply(200, {"images": images}))
    catalog = Catalog(backend)
    assert [item.name for item in catalog.list_networks("project-a")] == ["private", "public"]
    assert len(catalog.list_networks(None)) == 3
    assert [item.name for item in catalog.list_images("project-a")] == [
        *("community", "debian", "own", "shared"),
    ]
    assert catalog.find_image("own", "project-a").id == "id-own"
    for name in ("own", "id-own"):
        with pytest.raises(errors.ImageNotFound):
            catalog.find_image(name, "p")
    for name in ("private", "id-private"):
        with pytest.raises(errors.NetworkNotFound):
            catalog.find_network(name, "p")


def test_default_network_is_the_only_one_of_the_project(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    outside = network("outside", "admin", **{"router:external": True})
    networks = [network("net", "project-a"), network("net", "p"), outside]
    networks[1]["id"] = "id-p"
    cloud.reply_to("GET", "/network/v2.0/networks", Reply(200, {"networks": networks}))
    catalog = Catalog(backend)
    for project, id in (("project-a", "id-net"), ("p", "id-p")):
        for name in (None, "net"):
            found = catalog.find_network(name, project)
            assert found is not None
            assert found.id == id
    assert catalog.find_network(None, "unknown") is None


def test_networks_and_images_are_public_without_keystone(
    cloud: FakeOpenStack, keystone_settings: Settings
) -> None:
    backend = OpenStackBackend.from_settings(replace(keystone_settings, auth=("token",)))
    networks = Reply(200, {"networks": [network("a", "p"), network("b", "q")]})
    cloud.reply_to("GET", "/network/v2.0/networks", networks)
    cloud.reply_to("GET", "/image/v2/images", Reply(200, {"images": [image("i", "p", "private")]}))
    assert len(Catalog(backend).list_networks("web")) == 2
    assert Catalog(backend).find_image("i", "web").id == "id-i"
    backend.close()
