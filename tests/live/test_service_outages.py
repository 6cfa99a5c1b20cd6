"""Services of the cloud that are killed, and come back."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.support.live.api_response import ApiResponse, assert_problem
from tests.support.live.api_script import ApiScript, serve_app, wait_for
from tests.support.live.devcloud_services import flush_token_caches, killed_service
from vmapi.settings.settings import Settings

SOON = 2.5
"""Seconds within which a client learns that the cloud is away."""
PROMISED = 2
"""Seconds: what is known is no older while the cloud is there."""

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("devcloud")]


@pytest.fixture
def script(cloud_settings: Settings) -> Iterator[ApiScript]:
    """Return a script whose vmapi has learnt just now what the cloud has to offer."""
    with serve_app(cloud_settings) as script:
        try:
            yield script
        finally:
            script.delete_created_vms()


@pytest.fixture
def newcomer(cloud_settings: Settings) -> Iterator[ApiScript]:
    """Return a script whose vmapi has not asked the cloud for anything yet."""
    with serve_app(cloud_settings) as script:
        yield script


def unavailable(response: ApiResponse) -> None:
    """See that a client learns quickly that it has to come again."""
    assert_problem(response, 503, "backend_unavailable")
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert response.seconds < SOON


def remembered(response: ApiResponse) -> Any:
    """See that a client is quickly told what is known, and how old that is; return it."""
    assert response.status == 200, response
    assert int(response.headers["Age"]) >= 0
    assert response.seconds < SOON
    return response.body


def age(script: ApiScript, path: str) -> int:
    """Return how old is what is known, in seconds."""
    return int(script.call("GET", path).headers["Age"])


def ready(script: ApiScript) -> bool:
    """Tell whether nothing that is needed is away."""
    return bool(script.call("GET", "/readyz").body["status"] == "ready")


def test_nova_api(script: ApiScript, newcomer: ApiScript) -> None:
    vm_id = script.create_running_vm()
    path, wanted = f"/vms/{vm_id}", script.create_body("b")
    made = script.request_vm("c", metadata={"devcloud_delay": "2"})
    with killed_service("nova-api") as bring_back:
        for each in (path, f"{path}/status", "/vms", "/vms?name=x"):
            remembered(script.call("GET", each))
            unavailable(script.call("GET", each, refresh=True))
            unavailable(newcomer.call("GET", each))
        for each in (script, newcomer):
            unavailable(each.call("GET", f"{path}/console"))
        for method, each, body in (
            ("POST", "/vms", wanted),
            ("PATCH", path, {"metadata": {"env": "test"}}),
            ("POST", f"{path}/stop", None),
            ("DELETE", path, None),
        ):
            unavailable(script.call(method, each, body))
        for each in (script, newcomer):
            told = each.call("GET", "/readyz")
            assert (told.status, told.body["status"]) == (200, "degraded")
            away = {"backend": "backend_unavailable", "store": "ok"}
            assert told.body["dependencies"] == away
        # nothing was begun but what was under way before, and that goes on
        (operation,) = script.get("/operations?status=running")["items"]
        assert operation["vm_id"] == made.body["id"]
        known = remembered(script.call("GET", path))
        assert (known["status"], known["task"]) == ("RUNNING", None)
        wait_for(lambda: age(script, path) > PROMISED)
        bring_back()
        wait_for(lambda: ready(newcomer))
        assert script.wait_until_finished(made)["status"] == "succeeded"
        assert script.get_vm(made.body["id"])["status"] == "STOPPED"
        vm = newcomer.get_vm(vm_id)
        assert (vm["status"], vm["task"], vm["metadata"]) == ("RUNNING", None, {})
        assert script.get(f"/vms?name={wanted['name']}")["total"] == 0
        wait_for(lambda: ready(script))
        wait_for(lambda: age(script, path) <= PROMISED)
        assert script.perform_action(vm_id, "stop")["status"] == "STOPPED"


def test_keystone(script: ApiScript, newcomer: ApiScript) -> None:
    path = f"/vms/{script.create_running_vm()}"
    with killed_service("keystone") as bring_back:
        # a token that is known to be good goes on
        assert script.get(path, refresh=True)["status"] == "RUNNING"
        for each in (path, "/vms", "/flavors"):
            unavailable(newcomer.call("GET", each))
        unavailable(newcomer.call("POST", "/vms", script.create_body("b")))
        assert newcomer.call("GET", "/readyz").body["status"] == "degraded"
        flush_token_caches()
        # Nova tries for some seconds to learn whether the token is good
        for response in script.call_concurrently(
            ("GET", f"{path}/console", None), ("POST", f"{path}/stop", None)
        ):
            assert_problem(response, 503, "backend_unavailable")
        assert_problem(script.call("GET", path, refresh=True), 503, "backend_unavailable")
        assert remembered(script.call("GET", path))["status"] == "RUNNING"
        bring_back()
        for each in (script, newcomer):
            wait_for(partial(ready, each))
            assert each.get(path, fresh=True)["status"] == "RUNNING"


def test_neutron_and_glance(script: ApiScript, newcomer: ApiScript) -> None:
    path = f"/vms/{script.create_running_vm()}"
    image, wanted = script.get(path)["image"], script.create_body("b")
    script.get("/networks")
    with killed_service("neutron") as neutron_back:
        for each in (path, "/vms"):
            assert_problem(script.call("GET", each, refresh=True), 502, "backend_error")
            assert_problem(newcomer.call("GET", each), 502, "backend_error")
            remembered(script.call("GET", each))
        script.assert_refused(502, "backend_error", "POST", "/vms", wanted)
        unavailable(newcomer.call("POST", "/vms", wanted))
        neutron_back()
        wait_for(lambda: script.call("GET", path, refresh=True).status == 200)
    with killed_service("glance") as glance_back:
        assert script.get(path, refresh=True)["image"] == image
        assert newcomer.get(path)["status"] == "RUNNING"
        script.assert_refused(502, "backend_error", "POST", "/vms", wanted)
        unavailable(newcomer.call("GET", "/images"))
        unavailable(newcomer.call("POST", "/vms", wanted))
        glance_back()
    assert newcomer.get("/images")["items"] == script.get("/images")["items"]
    assert script.get(f"/vms?name={wanted['name']}")["total"] == 0
    vm_id = script.create_running_vm("b")
    assert newcomer.get_vm(vm_id)["status"] == "RUNNING"


def test_nova_compute(script: ApiScript, admin: Any) -> None:
    vm_id = script.create_running_vm()
    host = admin.compute.get_server(vm_id).compute_host
    with killed_service(f"nova-compute-{host.removeprefix('fake-')}") as bring_back:
        stopping = script.request_action(vm_id, "stop")
        assert (stopping.status, stopping.body["task"]) == (202, "stopping")
        for action in ("stop", "start", "pause"):
            script.assert_refused(409, "task_in_progress", "POST", f"/vms/{vm_id}/{action}")
        status = script.get(f"/vms/{vm_id}/status")
        assert (status["status"], status["task"]) == ("RUNNING", "stopping")
        operation = script.get(stopping.headers["Operation-Location"])
        assert (operation["status"], operation["error"]) == ("running", None)
        bring_back()
        assert script.wait_until_finished(stopping)["status"] == "succeeded"
    assert script.wait_until_settled(vm_id)["status"] == "STOPPED"
    assert script.perform_action(vm_id, "start")["status"] == "RUNNING"
