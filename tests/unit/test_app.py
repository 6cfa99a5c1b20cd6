"""The app factory: refused settings, lazy start, errors of Flask."""

import threading

import pytest
from flask import g
from structlog.testing import capture_logs
from werkzeug.exceptions import BadRequest, HTTPException, NotImplemented, RequestTimeout

from tests.support.api_harness import BASE, ApiHarness
from vmapi.api.problems import responses as problems
from vmapi.api.request.context import RequestState
from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.errors import SettingsError
from vmapi.settings.memory import MemoryLimits, parse_latency
from vmapi.settings.settings import Settings

QUIET = Settings(log_level="CRITICAL")


def test_the_cloud_of_one_process_is_not_served_by_several() -> None:
    with pytest.raises(
        SettingsError, match="VMAPI_WORKERS 2: the memory cloud lives in the memory"
    ):
        create_app(Settings(log_level="CRITICAL", workers=2))


@pytest.mark.parametrize("engine", ["worker", "celery"])
def test_nor_carried_on_by_another_process(engine: str) -> None:
    with pytest.raises(SettingsError, match=f"VMAPI_ENGINE {engine}: the memory cloud lives in"):
        create_app(Settings(log_level="CRITICAL", engine=engine))


def test_nor_where_the_server_has_several_all_the_same(harness: ApiHarness) -> None:
    response = harness.call("GET", "/vms", environ_overrides={"wsgi.multiprocess": True})
    assert (response.status_code, response.json["code"]) == (503, "backend_unavailable")


def test_a_cloud_for_development_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmapi.telemetry.logging.configure", lambda level: None)
    with capture_logs() as logs:
        create_app(Settings(log_level="INFO"), MemoryBackend())
    assert [(line["log_level"], line["event"].partition(":")[0]) for line in logs] == [
        ("warning", "the memory cloud is for development"),
        ("warning", "VMAPI_AUTH=none"),
    ]


def test_the_settings_say_which_cloud() -> None:
    backend = (
        create_app(Settings(log_level="CRITICAL", memory_limits=MemoryLimits(vms=3)))
        .extensions["vmapi"]
        .backend
    )
    assert backend.describe()["limits"].startswith("vms=3,")
    with pytest.raises(SettingsError, match="VMAPI_MEMORY_FAULTS"):
        Settings.from_environ({"VMAPI_MEMORY_FAULTS": "boredom=1"})


def test_nothing_runs_until_something_is_under_way() -> None:
    app = create_app(QUIET, MemoryBackend(latency=parse_latency("create=3600")))
    before = threading.active_count()
    client = app.test_client()
    assert client.get(f"{BASE}/vms").status_code == 200
    assert threading.active_count() == before
    body = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"}
    assert client.post(f"{BASE}/vms", json=body).status_code == 202
    assert "engine" in {thread.name for thread in threading.enumerate()}
    app.extensions["vmapi"].engine.stop()
    assert "engine" not in {thread.name for thread in threading.enumerate()}


def test_the_engine_carries_on_what_nobody_waits_for() -> None:
    app = create_app(QUIET, MemoryBackend(latency=parse_latency("create=1")))
    client = app.test_client()
    body = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"}
    response = client.post(f"{BASE}/vms", json=body)
    assert response.status_code == 202
    services = app.extensions["vmapi"]
    over = threading.Event()
    until = threading.Timer(10, over.set)
    until.start()
    while services.operations.list_leased() and not over.wait(0.02):
        pass
    until.cancel()
    services.engine.stop()
    vm = client.get(response.headers["Location"]).json
    assert vm is not None
    assert (vm["status"], vm["task"]) == ("STOPPED", None)


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (BadRequest("hunter2"), 400, "malformed_request"),
        (RequestTimeout("hunter2"), 400, "malformed_request"),
        (NotImplemented("hunter2"), 500, "internal_error"),
        (HTTPException("hunter2"), 500, "internal_error"),
    ],
)
def test_what_flask_refuses_is_a_problem_too(error: HTTPException, status: int, code: str) -> None:
    g.request_state = RequestState("mine", 0.0)
    response = problems.http_exception_response(error)
    assert (response.status_code, response.content_type) == (status, "application/problem+json")
    assert response.json is not None
    assert (response.json["code"], response.json["request_id"]) == (code, "mine")
    assert "hunter2" not in response.get_data(as_text=True)
