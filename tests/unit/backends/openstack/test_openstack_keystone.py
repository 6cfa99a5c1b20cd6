"""The driver where projects are Keystone's: whose token it sends, and whose servers it sees."""

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
ALICE = CallerToken(TOKEN, "hers")
TAKEN = Reply(
    202, {"server": {"id": SERVER_ID}, "metadata": {}}, {"X-Openstack-Request-Id": REQUEST_ID}
)
POLICY = Reply(403, {"forbidden": {"message": "Policy doesn't allow it to be performed."}})
HERS = replace(SPEC, project="hers")

Change = Callable[[Backend], object]
CHANGES: dict[str, tuple[Change, tuple[str, str]]] = {
    "create": (lambda cloud: cloud.create_vm(HERS, "op-1", caller_token=ALICE), ("POST", SERVERS)),
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
        server = {"id": SERVER_ID, "status": "ACTIVE", "tenant_id": "hers", "metadata": {}}
        cloud.reply_to("GET", SERVER, Reply(200, {"server": server}))
        cloud.reply_to("GET", SERVERS, Reply(200, {"servers": []}))
        cloud.reply_to("GET", DETAIL, Reply(200, {"servers": [server]}))
        cloud.reply_to("GET", "/image/v2/images", Reply(200, {"images": []}))
        for _, called in CHANGES.values():
            cloud.reply_to(*called, TAKEN)
        cloud.valid_tokens.add(TOKEN)
        yield cloud


@pytest.fixture
def asking(cloud: FakeOpenStack, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return replace(
        openstack_settings(cloud.url, monkeypatch), auth=("keystone",), default_project="web"
    )


@pytest.fixture
def backend(asking: Settings) -> Iterator[OpenStackBackend]:
    backend = OpenStackBackend.from_settings(asking)
    yield backend
    backend.close()


def with_token(cloud: FakeOpenStack, token: str = TOKEN) -> list[tuple[str, str]]:
    """Return what was asked with a token."""
    asked = (each for each in cloud.requests if each.headers.get("X-Auth-Token") == token)
    return [(each.method, each.path) for each in asked]


def query(cloud: FakeOpenStack, path: str = DETAIL) -> list[dict[str, list[str]]]:
    """Return what a list was asked for, each time."""
    urls = (urlsplit(each.path) for each in cloud.requests)
    return [parse_qs(url.query) for url in urls if url.path == path]


# Whose token


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_sent_with_the_callers_token_and_that_alone(
    cloud: FakeOpenStack, backend: OpenStackBackend, what: str
) -> None:
    backend.ping()
    logins = cloud.count_requests("POST", TOKENS)
    change, called = CHANGES[what]
    change(backend)
    assert with_token(cloud) == [called]
    assert cloud.count_requests("POST", TOKENS) == logins
    assert cloud.count_requests("GET", TOKENS) == 0


def test_in_its_other_form_too(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    wrong = Reply(409, {"conflictingRequest": {"message": f"Instance {SERVER_ID} is not ready"}})
    cloud.reply_to("POST", f"{SERVER}/action", wrong, TAKEN)
    cloud.reply_to("GET", SERVER, Reply(200, {"server": {"id": SERVER_ID, "status": "SHELVED"}}))
    assert backend.perform_action(SERVER_ID, Verb.START, caller_token=ALICE) == AcceptedAction(
        SERVER_ID, REQUEST_ID
    )
    assert with_token(cloud) == [("POST", f"{SERVER}/action")] * 2


def test_without_one_it_is_vmapis_own(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    backend.perform_action(SERVER_ID, Verb.STOP)
    assert with_token(cloud, "token-1")[-1] == ("POST", f"{SERVER}/action")


@pytest.mark.parametrize("what", CHANGES)
def test_one_that_the_cloud_does_not_take_is_not_tried_again(
    cloud: FakeOpenStack, backend: OpenStackBackend, what: str
) -> None:
    cloud.valid_tokens.discard(TOKEN)
    change, called = CHANGES[what]
    with pytest.raises(errors.Unauthenticated) as caught:
        change(backend)
    assert (caught.value.detail, caught.value.credentials_sent) == (
        CREDENTIALS_REFUSED_DETAIL,
        True,
    )
    assert with_token(cloud) == [called]
    assert cloud.count_requests("POST", TOKENS) == 1


@pytest.mark.parametrize("what", CHANGES)
def test_what_the_policy_refuses_is_not_done_by_vmapi_instead(
    cloud: FakeOpenStack, backend: OpenStackBackend, what: str
) -> None:
    change, called = CHANGES[what]
    cloud.reply_to(*called, POLICY)
    with pytest.raises(errors.Forbidden, match="Policy doesn't allow it"):
        change(backend)
    assert cloud.count_requests(*called) == 1


@pytest.mark.parametrize("what", ["stop", "delete", "rename", "metadata"])
def test_a_server_that_the_cloud_hides_from_the_caller_is_not_gone(
    cloud: FakeOpenStack, backend: OpenStackBackend, what: str
) -> None:
    change, called = CHANGES[what]
    cloud.reply_to(
        *called, Reply(404, {"itemNotFound": {"message": f"Instance {SERVER_ID} not found"}})
    )
    server = {"id": SERVER_ID, "status": "BUILD", "tenant_id": "another", "metadata": {}}
    cloud.reply_to("GET", SERVER, Reply(200, {"server": server}))
    with pytest.raises(errors.Forbidden) as caught:
        change(backend)
    assert caught.value.detail == HIDDEN_VM_DETAIL
    # of one that is not there for vmapi either, that is told
    cloud.reply_to("GET", SERVER, Reply(404, {"itemNotFound": {"message": "no"}}))
    with pytest.raises(errors.VMNotFound):
        change(backend)
    # and what its own project has, it may lose at any time
    cloud.reply_to("GET", SERVER, Reply(200, {"server": {**server, "tenant_id": "hers"}}))
    with pytest.raises(errors.InvalidState if what == "stop" else errors.VMNotFound):
        change(backend)


def test_nor_is_one_whose_answer_is_lost(cloud: FakeOpenStack, asking: Settings) -> None:
    backend = OpenStackBackend.from_settings(replace(asking, backend_timeout=1.0))
    backend.ping()
    cloud.reply_to("POST", f"{SERVER}/action", Stall())
    with pytest.raises(errors.BackendTimeout):
        backend.perform_action(SERVER_ID, Verb.STOP, caller_token=ALICE)
    backend.close()
    assert cloud.count_requests("POST", f"{SERVER}/action") == 1


def test_it_is_in_no_log(
    cloud: FakeOpenStack, backend: OpenStackBackend, caplog: pytest.LogCaptureFixture
) -> None:
    cloud.reply_to("POST", f"{SERVER}/action", Reply(500, "no"))
    with caplog.at_level("DEBUG"), capture_logs() as logs:
        backend.create_vm(HERS, "op-1", caller_token=ALICE)
        with pytest.raises(errors.BackendError) as caught:
            backend.perform_action(SERVER_ID, Verb.STOP, caller_token=ALICE)
    said = caplog.text + str(logs) + repr(caught.value) + caught.value.detail
    assert TOKEN not in said
    assert "X-Auth-Token" not in caplog.text.split(SERVERS)[-1]


@pytest.mark.parametrize(
    ("url", "theirs"),
    [
        ("http://nova/v2.1", "http://nova/v2.1"),
        ("http://nova/v2.1/ours", "http://nova/v2.1/hers"),
        ("http://ours/v2/ours-too/ours", "http://ours/v2/ours-too/hers"),
    ],
)
def test_a_project_in_the_address_is_the_callers(url: str, theirs: str) -> None:
    door: Any = ServiceEndpoint(None, url, "2.84", "ours")  # type: ignore[arg-type]
    assert door.url_for_project(ALICE.project) == theirs


# Whose servers


def test_servers_are_keystones_projects(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    mark = {"vmapi.project": "web"}
    marked = {"id": SERVER_ID, "status": "ACTIVE", "tenant_id": "hers", "metadata": mark}
    cloud.reply_to("GET", DETAIL, Reply(200, {"servers": [marked, {**marked, "tenant_id": "p"}]}))
    assert [vm.project for vm in backend.list_vms()] == ["hers", "p"]
    cloud.reply_to("GET", DETAIL, Reply(200, {"servers": [{"id": SERVER_ID, "status": "UNKNOWN"}]}))
    assert [vm.project for vm in backend.list_vms()] == [None]
    assert backend.get_vm(SERVER_ID).project == "hers"


def test_and_carry_no_mark(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    backend.create_vm(HERS, "op-1", caller_token=ALICE)
    assert cloud.requests[-1].body["server"]["metadata"] == {"a": "b"}


def test_all_projects_are_asked_for(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    backend.list_vms()
    backend.list_vms(name="web-1")
    backend.list_changed_since(datetime(2026, 1, 1, tzinfo=UTC))
    cloud.reply_to("GET", DETAIL, Reply(200, {"servers": []}))
    assert backend.find_created_vm("op-1") is None
    assert [asked.pop("all_tenants") for asked in query(cloud)] == [["1"]] * 4
    backend.ping()
    assert query(cloud, SERVERS) == [{"limit": ["1"], "all_tenants": ["1"]}]
    assert backend.describe()["sees"] == ALL_PROJECTS_VISIBLE


def test_elsewhere_its_own_are(
    cloud: FakeOpenStack, backend: OpenStackBackend, asking: Settings
) -> None:
    other = OpenStackBackend.from_settings(replace(asking, auth=("token", "jwt")))
    assert [vm.project for vm in other.list_vms()] == ["web"]
    assert query(cloud) == [{}]
    assert other.describe()["sees"] == OWN_PROJECT_VISIBLE
    other.check_create("any", None)
    other.close()


def test_where_nova_refuses_that_its_own_are_seen(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    assert backend.describe()["sees"] == "not asked yet"
    cloud.reply_to("GET", DETAIL, POLICY, Reply(200, {"servers": []}))
    with capture_logs() as logs:
        backend.list_vms()
        backend.list_vms()
    assert [asked.get("all_tenants") for asked in query(cloud)] == [["1"], None, None]
    assert backend.describe()["sees"] == ALL_TENANTS_REFUSED
    (line,) = logs
    assert (line["event"], line["log_level"]) == (
        "VMs of other projects are not visible",
        "warning",
    )
    assert "Policy doesn't allow it" in line["reason"]


def test_and_check_says_so(
    cloud: FakeOpenStack, backend: OpenStackBackend, asking: Settings
) -> None:
    cloud.reply_to("GET", SERVERS, POLICY, Reply(200, {"servers": []}))
    app = create_app(replace(asking, log_level="CRITICAL"), backend)
    with app.app_context():
        result = app.test_cli_runner().invoke(args=["check"])
    lines = result.output.splitlines()
    assert (result.exit_code, lines[-1]) == (0, "the cloud answers")
    assert f"{'sees':<24} {ALL_TENANTS_REFUSED}" in lines
    assert f"{'microversion':<24} 2.84" in lines


def test_a_refusal_of_its_own_is_told(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    cloud.reply_to("GET", DETAIL, POLICY)
    with pytest.raises(errors.Forbidden):
        backend.list_vms()
    assert len(query(cloud)) == 2


def test_after_a_while_it_is_asked_again() -> None:
    now, asked = [0.0], []
    refuses = [True]

    def ask(which: Any) -> None:
        asked.append(dict(which))
        if which and refuses[0]:
            raise errors.Forbidden("no")

    reach = TenantVisibility(all_projects=True, monotonic=lambda: now[0])
    everywhere = {"all_tenants": "1"}
    reach.query(ask)
    now[0] = ALL_TENANTS_RETRY_INTERVAL - 0.1
    reach.query(ask)
    assert asked == [everywhere, {}, {}]
    now[0], refuses[0] = ALL_TENANTS_RETRY_INTERVAL, False
    reach.query(ask)
    reach.query(ask)
    assert asked[3:] == [everywhere] * 2
    assert reach.sees_all_projects(ask)
    assert len(asked) == 5


# Where VMs may be created


def test_in_its_own_project_by_anybody(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    backend.check_create("p", None)
    assert backend.create_vm(replace(SPEC, project="p"), "op-1") == AcceptedAction(
        SERVER_ID, REQUEST_ID
    )


def test_in_another_only_by_who_is_there(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    backend.check_create("hers", ALICE)
    for refused in (
        lambda: backend.check_create("hers", None),
        lambda: backend.create_vm(HERS, "op-1"),
        lambda: backend.create_vm(SPEC, "op-1"),
    ):
        with pytest.raises(errors.Forbidden) as caught:
            refused()
        assert caught.value.detail == CREDENTIALS_REQUIRED_DETAIL
    assert cloud.count_requests("POST", SERVERS) == 0


def test_and_where_it_is_seen_afterwards(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    cloud.reply_to("GET", SERVERS, POLICY, Reply(200, {"servers": []}))
    for refused in (
        lambda: backend.check_create("hers", ALICE),
        lambda: backend.create_vm(HERS, "op-1", caller_token=ALICE),
    ):
        with pytest.raises(errors.Forbidden) as caught:
            refused()
        assert caught.value.detail == PROJECT_NOT_VISIBLE_DETAIL
    backend.check_create("p", CallerToken(TOKEN, "p"))
    assert cloud.count_requests("POST", SERVERS) == 0


# What a project may use


def network(name: str, project: str, **more: Any) -> dict[str, Any]:
    return {"id": f"id-{name}", "name": name, "project_id": project, "shared": False, **more}


def image(name: str, owner: str, visibility: str) -> dict[str, Any]:
    return {
        "id": f"id-{name}",
        "name": name,
        "status": "active",
        "owner": owner,
        "visibility": visibility,
    }


def test_networks_and_images_are_a_projects_own_or_everybodys(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    networks = [
        network("private", "hers"),
        network("theirs", "p"),
        network("public", "p", shared=True, **{"router:external": True}),
    ]
    images = [
        image("debian", "p", "public"),
        image("community", "p", "community"),
        image("mine", "hers", "private"),
        image("shared", "hers", "shared"),
        image("theirs", "p", "private"),
        image("theirs-too", "p", "shared"),
    ]
    cloud.reply_to("GET", "/network/v2.0/networks", Reply(200, {"networks": networks}))
    cloud.reply_to("GET", "/image/v2/images", Reply(200, {"images": images}))
    catalog = Catalog(backend)
    assert [each.name for each in catalog.list_networks("hers")] == ["private", "public"]
    assert len(catalog.list_networks(None)) == 3
    assert [each.name for each in catalog.list_images("hers")] == [
        *("community", "debian", "mine", "shared"),
    ]
    assert catalog.find_image("mine", "hers").id == "id-mine"
    for wanted in ("mine", "id-mine"):
        with pytest.raises(errors.ImageNotFound):
            catalog.find_image(wanted, "p")
    for wanted in ("private", "id-private"):
        with pytest.raises(errors.NetworkNotFound):
            catalog.find_network(wanted, "p")


def test_the_one_network_is_the_projects(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    outside = network("outside", "admin", **{"router:external": True})
    networks = [network("net", "hers"), network("net", "p"), outside]
    networks[1]["id"] = "id-p"
    cloud.reply_to("GET", "/network/v2.0/networks", Reply(200, {"networks": networks}))
    catalog = Catalog(backend)
    for project, id in (("hers", "id-net"), ("p", "id-p")):
        for wanted in (None, "net"):
            found = catalog.find_network(wanted, project)
            assert found is not None
            assert found.id == id
    assert catalog.find_network(None, "nobodys") is None


def test_elsewhere_all_are_everybodys(cloud: FakeOpenStack, asking: Settings) -> None:
    backend = OpenStackBackend.from_settings(replace(asking, auth=("token",)))
    networks = Reply(200, {"networks": [network("a", "p"), network("b", "q")]})
    cloud.reply_to("GET", "/network/v2.0/networks", networks)
    cloud.reply_to("GET", "/image/v2/images", Reply(200, {"images": [image("i", "p", "private")]}))
    assert len(Catalog(backend).list_networks("web")) == 2
    assert Catalog(backend).find_image("i", "web").id == "id-i"
    backend.close()
