"""Services of the cloud that are killed, and come back."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.support.live.api_response import Answer, problem
from tests.support.live.api_script import Script, serving, until
from tests.support.live.devcloud_services import forget_tokens, killed
from vmapi.settings.settings import Settings

SOON = 2.5
"""Seconds within which a client learns that the cloud is away."""
PROMISED = 2
"""Seconds: what is known is no older while the cloud is there."""

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("devcloud")]


@pytest.fixture
def script(cloud_settings: Settings) -> Iterator[Script]:
    """Return a script whose vmapi has learnt just now what the cloud has to offer."""
    with serving(cloud_settings) as script:
        try:
            yield script
        finally:
            script.clean()


@pytest.fixture
def newcomer(cloud_settings: Settings) -> Iterator[Script]:
    """Return a script whose vmapi has not asked the cloud for anything yet."""
    with serving(cloud_settings) as script:
        yield script


def unavailable(answer: Answer) -> None:
    """See that a client learns quickly that it has to come again."""
    problem(answer, 503, "backend_unavailable")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert answer.seconds < SOON


def remembered(answer: Answer) -> Any:
    """See that a client is quickly told what is known, and how old that is; return it."""
    assert answer.status == 200, answer
    assert int(answer.headers["Age"]) >= 0
    assert answer.seconds < SOON
    return answer.body


def age(script: Script, path: str) -> int:
    """Return how old is what is known, in seconds."""
    return int(script.call("GET", path).headers["Age"])


def ready(script: Script) -> bool:
    """Tell whether nothing that is needed is away."""
    return bool(script.call("GET", "/readyz").body["status"] == "ready")


def test_nova_api(script: Script, newcomer: Script) -> None:
    vm_id = script.running()
    path, wanted = f"/vms/{vm_id}", script.wanted("b")
    made = script.order("c", metadata={"devcloud_delay": "2"})
    with killed("nova-api") as bring_back:
        for each in (path, f"{path}/status", "/vms", "/vms?name=x"):
            remembered(script.call("GET", each))
            unavailable(script.call("GET", each, fresh=True))
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
        until(lambda: age(script, path) > PROMISED)
        bring_back()
        until(lambda: ready(newcomer))
        assert script.ended(made)["status"] == "succeeded"
        assert script.vm(made.body["id"])["status"] == "STOPPED"
        vm = newcomer.vm(vm_id)
        assert (vm["status"], vm["task"], vm["metadata"]) == ("RUNNING", None, {})
        assert script.get(f"/vms?name={wanted['name']}")["total"] == 0
        until(lambda: ready(script))
        until(lambda: age(script, path) <= PROMISED)
        assert script.done(vm_id, "stop")["status"] == "STOPPED"


def test_keystone(script: Script, newcomer: Script) -> None:
    path = f"/vms/{script.running()}"
    with killed("keystone") as bring_back:
        # a token that is known to be good goes on
        assert script.get(path, fresh=True)["status"] == "RUNNING"
        for each in (path, "/vms", "/flavors"):
            unavailable(newcomer.call("GET", each))
        unavailable(newcomer.call("POST", "/vms", script.wanted("b")))
        assert newcomer.call("GET", "/readyz").body["status"] == "degraded"
        forget_tokens()
        # Nova tries for some seconds to learn whether the token is good
        for answer in script.together(
            ("GET", f"{path}/console", None), ("POST", f"{path}/stop", None)
        ):
            problem(answer, 503, "backend_unavailable")
        problem(script.call("GET", path, fresh=True), 503, "backend_unavailable")
        assert remembered(script.call("GET", path))["status"] == "RUNNING"
        bring_back()
        for each in (script, newcomer):
            until(partial(ready, each))
            assert each.get(path, fresh=True)["status"] == "RUNNING"


def test_neutron_and_glance(script: Script, newcomer: Script) -> None:
    path = f"/vms/{script.running()}"
    image, wanted = script.get(path)["image"], script.wanted("b")
    script.get("/networks")
    with killed("neutron") as neutron_back:
        for each in (path, "/vms"):
            problem(script.call("GET", each, fresh=True), 502, "backend_error")
            problem(newcomer.call("GET", each), 502, "backend_error")
            remembered(script.call("GET", each))
        script.refused(502, "backend_error", "POST", "/vms", wanted)
        unavailable(newcomer.call("POST", "/vms", wanted))
        neutron_back()
        until(lambda: script.call("GET", path, fresh=True).status == 200)
    with killed("glance") as glance_back:
        assert script.get(path, fresh=True)["image"] == image
        assert newcomer.get(path)["status"] == "RUNNING"
        script.refused(502, "backend_error", "POST", "/vms", wanted)
        unavailable(newcomer.call("GET", "/images"))
        unavailable(newcomer.call("POST", "/vms", wanted))
        glance_back()
    assert newcomer.get("/images")["items"] == script.get("/images")["items"]
    assert script.get(f"/vms?name={wanted['name']}")["total"] == 0
    vm_id = script.running("b")
    assert newcomer.vm(vm_id)["status"] == "RUNNING"


def test_nova_compute(script: Script, admin: Any) -> None:
    vm_id = script.running()
    host = admin.compute.get_server(vm_id).compute_host
    with killed(f"nova-compute-{host.removeprefix('fake-')}") as bring_back:
        stopping = script.act(vm_id, "stop")
        assert (stopping.status, stopping.body["task"]) == (202, "stopping")
        for action in ("stop", "start", "pause"):
            script.refused(409, "task_in_progress", "POST", f"/vms/{vm_id}/{action}")
        status = script.get(f"/vms/{vm_id}/status")
        assert (status["status"], status["task"]) == ("RUNNING", "stopping")
        operation = script.get(stopping.headers["Operation-Location"])
        assert (operation["status"], operation["error"]) == ("running", None)
        bring_back()
        assert script.ended(stopping)["status"] == "succeeded"
    assert script.settled(vm_id)["status"] == "STOPPED"
    assert script.done(vm_id, "start")["status"] == "RUNNING"
