"""Outages of the cloud's services: responses during and after an outage."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.support.live.api_response import ApiResponse, assert_problem
from tests.support.live.api_script import ApiScript, serve_app, wait_for
from tests.support.live.devcloud_services import flush_token_caches, killed_service
from vmapi.settings.settings import Settings

MAX_RESPONSE_SECONDS = 15.0
"""Seconds until a response during an outage: half of the time that a call may take."""
MAX_FRESH_AGE = 2
"""The greatest `Age` of a read, in seconds, while the cloud is available."""

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("devcloud")]


@pytest.fixture
def script(cloud_settings: Settings) -> Iterator[ApiScript]:
    """Return a script on a new vmapi; delete its VMs after the test."""
    with serve_app(cloud_settings) as script:
        try:
            yield script
        finally:
            script.delete_created_vms()


@pytest.fixture
def cold_script(cloud_settings: Settings) -> Iterator[ApiScript]:
    """Return a script on a new vmapi with empty caches."""
    with serve_app(cloud_settings) as script:
        yield script


def assert_unavailable(response: ApiResponse) -> None:
    """Assert that the response is a fast 503 with Retry-After."""
    assert_problem(response, 503, "backend_unavailable")
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert response.seconds < MAX_RESPONSE_SECONDS


def assert_cached(response: ApiResponse) -> Any:
    """Assert that the response is a fast read from the inventory, and return its body."""
    assert response.status == 200, response
    assert int(response.headers["Age"]) >= 0
    assert response.seconds < MAX_RESPONSE_SECONDS
    return response.body


def age_seconds(script: ApiScript, path: str) -> int:
    """Return the age of a read in seconds."""
    return int(script.call("GET", path).headers["Age"])


def is_ready(script: ApiScript) -> bool:
    """Return whether all dependencies of vmapi are available."""
    return bool(script.call("GET", "/readyz").body["status"] == "ready")


def assert_changes_unavailable(script: ApiScript, path: str, create_body: dict[str, Any]) -> None:
    for method, url, body in (
        ("POST", "/vms", create_body),
        ("PATCH", path, {"metadata": {"env": "test"}}),
        ("POST", f"{path}/stop", None),
        ("DELETE", path, None),
    ):
        assert_unavailable(script.call(method, url, body))


def assert_degraded(script: ApiScript) -> None:
    # on a loaded machine, the first answers may exceed the time of the probe
    dependencies = {"backend": "backend_unavailable", "store": "ok"}
    wait_for(lambda: script.call("GET", "/readyz").body["dependencies"] == dependencies)
    readiness = script.call("GET", "/readyz")
    assert (readiness.status, readiness.body["status"]) == (200, "degraded")


def test_outage_of_nova_api(script: ApiScript, cold_script: ApiScript) -> None:
    vm_id = script.create_running_vm()
    path, create_body = f"/vms/{vm_id}", script.create_body("b")
    created = script.request_vm("c", metadata={"devcloud_delay": "2"})
    with killed_service("nova-api") as start_service:
        for url in (path, f"{path}/status", "/vms", "/vms?name=x"):
            assert_cached(script.call("GET", url))
            assert_unavailable(script.call("GET", url, refresh=True))
            assert_unavailable(cold_script.call("GET", url))
        for client in (script, cold_script):
            assert_unavailable(client.call("GET", f"{path}/console"))
        assert_changes_unavailable(script, path, create_body)
        for client in (script, cold_script):
            assert_degraded(client)
        # no operation was added; the one in progress continues
        (operation,) = script.get("/operations?status=running")["items"]
        assert operation["vm_id"] == created.body["id"]
        cached_vm = assert_cached(script.call("GET", path))
        assert (cached_vm["status"], cached_vm["task"]) == ("RUNNING", None)
        wait_for(lambda: age_seconds(script, path) > MAX_FRESH_AGE)
        start_service()
        wait_for(lambda: is_ready(cold_script))
        assert script.wait_until_finished(created)["status"] == "succeeded"
        assert script.get_vm(created.body["id"])["status"] == "STOPPED"
        vm = cold_script.get_vm(vm_id)
        assert (vm["status"], vm["task"], vm["metadata"]) == ("RUNNING", None, {})
        assert script.get(f"/vms?name={create_body['name']}")["total"] == 0
        wait_for(lambda: is_ready(script))
        wait_for(lambda: age_seconds(script, path) <= MAX_FRESH_AGE)
        assert script.perform_action(vm_id, "stop")["status"] == "STOPPED"


def test_outage_of_keystone(script: ApiScript, cold_script: ApiScript) -> None:
    path = f"/vms/{script.create_running_vm()}"
    with killed_service("keystone") as start_service:
        # a validated token stays valid
        assert script.get(path, refresh=True)["status"] == "RUNNING"
        for url in (path, "/vms", "/flavors"):
            assert_unavailable(cold_script.call("GET", url))
        assert_unavailable(cold_script.call("POST", "/vms", script.create_body("b")))
        assert cold_script.call("GET", "/readyz").body["status"] == "degraded"
        flush_token_caches()
        # Nova retries the validation of the token for some seconds
        for response in script.call_concurrently(
            ("GET", f"{path}/console", None), ("POST", f"{path}/stop", None)
        ):
            assert_problem(response, 503, "backend_unavailable")
        assert_problem(script.call("GET", path, refresh=True), 503, "backend_unavailable")
        assert assert_cached(script.call("GET", path))["status"] == "RUNNING"
        start_service()
        for client in (script, cold_script):
            wait_for(partial(is_ready, client))
            assert client.get(path, refresh=True)["status"] == "RUNNING"


def test_outages_of_neutron_and_glance(script: ApiScript, cold_script: ApiScript) -> None:
    path = f"/vms/{script.create_running_vm()}"
    image, create_body = script.get(path)["image"], script.create_body("b")
    script.get("/networks")
    with killed_service("neutron") as start_neutron:
        for url in (path, "/vms"):
            assert_problem(script.call("GET", url, refresh=True), 502, "backend_error")
            assert_problem(cold_script.call("GET", url), 502, "backend_error")
            assert_cached(script.call("GET", url))
        script.assert_refused(502, "backend_error", "POST", "/vms", create_body)
        assert_unavailable(cold_script.call("POST", "/vms", create_body))
        start_neutron()
        wait_for(lambda: script.call("GET", path, refresh=True).status == 200)
    with killed_service("glance") as start_glance:
        assert script.get(path, refresh=True)["image"] == image
        assert cold_script.get(path)["status"] == "RUNNING"
        script.assert_refused(502, "backend_error", "POST", "/vms", create_body)
        assert_unavailable(cold_script.call("GET", "/images"))
        assert_unavailable(cold_script.call("POST", "/vms", create_body))
        start_glance()
    assert cold_script.get("/images")["items"] == script.get("/images")["items"]
    assert script.get(f"/vms?name={create_body['name']}")["total"] == 0
    vm_id = script.create_running_vm("b")
    assert cold_script.get_vm(vm_id)["status"] == "RUNNING"


def test_outage_of_nova_compute(script: ApiScript, admin: Any) -> None:
    vm_id = script.create_running_vm()
    host = admin.compute.get_server(vm_id).compute_host
    with killed_service(f"nova-compute-{host.removeprefix('fake-')}") as start_service:
        stopping = script.request_action(vm_id, "stop")
        assert (stopping.status, stopping.body["task"]) == (202, "stopping")
        for action in ("stop", "start", "pause"):
            script.assert_refused(409, "task_in_progress", "POST", f"/vms/{vm_id}/{action}")
        status = script.get(f"/vms/{vm_id}/status")
        assert (status["status"], status["task"]) == ("RUNNING", "stopping")
        operation = script.get(stopping.headers["Operation-Location"])
        assert (operation["status"], operation["error"]) == ("running", None)
        start_service()
        assert script.wait_until_finished(stopping)["status"] == "succeeded"
    assert script.wait_until_settled(vm_id)["status"] == "STOPPED"
    assert script.perform_action(vm_id, "start")["status"] == "RUNNING"
