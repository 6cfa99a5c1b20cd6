"""The app factory: refused settings, lazy start, errors of Flask."""

import threading

import pytest
from flask import g
from structlog.testing import capture_logs
from werkzeug.exceptions import BadRequest, HTTPException, NotImplemented, RequestTimeout

from tests.support.api_harness import BASE, ApiHarness
from tests.support.blocking_source import wait_until
from vmapi.api.problems import responses as problems
from vmapi.api.request.context import RequestState, current_services
from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.errors import SettingsError
from vmapi.settings.memory import MemoryLimits, parse_latency
from vmapi.settings.settings import Settings

QUIET = Settings(log_level="CRITICAL")


def test_memory_cloud_refuses_several_workers() -> None:
    with pytest.raises(
        SettingsError, match="VMAPI_WORKERS 2: the memory cloud lives in the memory"
    ):
        create_app(Settings(log_level="CRITICAL", workers=2))


@pytest.mark.parametrize("engine", ["worker", "celery"])
def test_memory_cloud_refuses_an_engine_in_another_process(engine: str) -> None:
    with pytest.raises(SettingsError, match=f"VMAPI_ENGINE {engine}: the memory cloud lives in"):
        create_app(Settings(log_level="CRITICAL", engine=engine))


def test_memory_cloud_refuses_requests_of_a_server_with_several_processes(
    harness: ApiHarness,
) -> None:
    response = harness.call("GET", "/vms", environ_overrides={"wsgi.multiprocess": True})
    assert (response.status_code, response.json["code"]) == (503, "backend_unavailable")


def test_memory_cloud_logs_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmapi.telemetry.logging.configure", lambda level: None)
    with capture_logs() as logs:
        create_app(Settings(log_level="INFO"), MemoryBackend())
    assert [(line["log_level"], line["event"].partition(":")[0]) for line in logs] == [
        ("warning", "the memory cloud is for development"),
        ("warning", "VMAPI_AUTH=none"),
    ]


def test_settings_select_the_backend() -> None:
    backend = (
        create_app(Settings(log_level="CRITICAL", memory_limits=MemoryLimits(vms=3)))
        .extensions["vmapi"]
        .backend
    )
    assert backend.describe()["limits"].startswith("vms=3,")
    with pytest.raises(SettingsError, match="VMAPI_MEMORY_FAULTS"):
        Settings.from_environ({"VMAPI_MEMORY_FAULTS": "boredom=1"})


def test_no_thread_runs_before_the_first_operation() -> None:
    app = create_app(QUIET, MemoryBackend(latency=parse_latency("create=3600")))
    before = threading.active_count()
    client = app.test_client()
    assert client.get(f"{BASE}/vms").status_code == 200
    assert threading.active_count() == before
    body = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"}
    assert client.post(f"{BASE}/vms", json=body).status_code == 202
    assert "engine" in {thread.name for thread in threading.enumerate()}
    services = app.extensions["vmapi"]
    services.engine.stop()
    assert "engine" not in {thread.name for thread in threading.enumerate()}
    services.store.close()


def test_engine_finishes_an_operation_without_a_waiting_request() -> None:
    app = create_app(QUIET, MemoryBackend(latency=parse_latency("create=1")))
    client = app.test_client()
    body = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"}
    response = client.post(f"{BASE}/vms", json=body)
    assert response.status_code == 202
    services = app.extensions["vmapi"]
    wait_until(lambda: not services.operations.list_leased())
    services.engine.stop()
    vm = client.get(response.headers["Location"]).json
    services.store.close()
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
def test_flask_error_is_a_problem_document(error: HTTPException, status: int, code: str) -> None:
    g.request_state = RequestState("mine", 0.0, current_services())
    response = problems.http_exception_response(error)
    assert (response.status_code, response.content_type) == (status, "application/problem+json")
    assert response.json is not None
    assert (response.json["code"], response.json["request_id"]) == (code, "mine")
    assert "hunter2" not in response.get_data(as_text=True)
