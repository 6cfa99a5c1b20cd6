"""Fixtures of all tests: an app on the memory cloud with a fake clock and a stopped engine."""

import gc
import logging
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

import hypothesis
import pytest
import structlog
from flask import Flask, Response

pytest.register_assert_rewrite("tests.support", "tests.contract", "tests.live")

from tests.support.api_harness import ApiHarness
from tests.support.databases import (
    create_template,
    engines_with_shared_statements,
    folders_with_copies,
)
from tests.support.fake_clock import Clock
from tests.support.metrics import RecordedMetrics
from tests.support.reconciler_harness import ReconcilerHarness
from vmapi.app import create_app
from vmapi.backends.circuit_breaker import PROBE_INTERVAL
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.bootstrap import bootstrap
from vmapi.settings.memory import parse_latency, parse_memory_limits
from vmapi.settings.settings import Settings
from vmapi.telemetry.logging import configure
from vmapi.telemetry.metrics.registry import MetricRegistry

FEW_EXAMPLES = hypothesis.settings(max_examples=15, deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("few", FEW_EXAMPLES)
hypothesis.settings.register_profile("many", FEW_EXAMPLES, max_examples=150)
# make fuzz names the other profile
hypothesis.settings.load_profile("few")

GARBAGE_THRESHOLD = 10_000
"""New container objects after which the garbage collector runs."""

LOG_RENDERER = structlog.dev.ConsoleRenderer(
    colors=False, exception_formatter=structlog.dev.plain_traceback
)
"""The renderer of log lines with Python's traceback: rich formats the locals of each frame."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without the garbage collector, and exempt the modules and tests from it.

    Each full collection traverses all tracked objects, and thousands of tests are such objects.
    Python's own threshold is 700 new objects.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(GARBAGE_THRESHOLD)
        gc.enable()


@pytest.fixture(scope="session")
def new_database_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Create a folder with an empty SQLite database; the caller removes it."""
    return folders_with_copies(create_template(tmp_path_factory.mktemp("template")))


@pytest.fixture(scope="session", autouse=True)
def _fast_sqlite(new_database_folder: Callable[..., str]) -> Iterator[None]:
    """Copy the schema of temporary databases, and compile each statement once a session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vmapi.store.store.mkdtemp", new_database_folder)
        patch.setattr("vmapi.store.database.create_engine", engines_with_shared_statements())
        yield


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """Restore the configuration of logging after each test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.contextvars.clear_contextvars()
    _reset_structlog()


def _reset_structlog() -> None:
    structlog.reset_defaults()
    processors = structlog.get_config()["processors"]
    structlog.configure(processors=[*processors[:-1], LOG_RENDERER])


_reset_structlog()


@pytest.fixture(autouse=True)
def _background_threads() -> Iterator[None]:
    """Check that no test leaves a thread behind that writes log lines into later tests."""
    before = set(threading.enumerate())
    yield
    threads = [
        thread
        for thread in threading.enumerate()
        if thread.name in ("breaker-probe", "lease-heartbeat") and thread not in before
    ]
    for thread in threads:
        thread.join(PROBE_INTERVAL / 2)
    assert not [thread for thread in threads if thread.is_alive()]


@pytest.fixture(autouse=True)
def _harness_stores() -> Iterator[None]:
    """Close the store of a harness, and with it its heartbeat."""
    yield
    ReconcilerHarness.close_stores()


@pytest.fixture
def metrics() -> Iterator[RecordedMetrics]:
    """The metrics that the test records from now on."""
    registry = MetricRegistry()
    yield RecordedMetrics(registry)
    registry.disable()


@pytest.fixture
def threads() -> int:
    return 8


@pytest.fixture
def settings(threads: int) -> Settings:
    # rate limits are for the tests of rate limits
    return Settings(
        log_level="CRITICAL",
        threads=threads,
        rate_reads=(),
        rate_changes=(),
        rate_address=(),
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def latency() -> str:
    """The latency of the cloud; tests parametrize it."""
    return "0"


@pytest.fixture
def limits() -> str:
    return ""


@pytest.fixture
def backend(clock: Clock, latency: str, limits: str) -> MemoryBackend:
    return MemoryBackend(
        latency=parse_latency(latency),
        limits=parse_memory_limits(limits),
        clock=clock,
        sleep=clock.sleep,
    )


@pytest.fixture(scope="session")
def shell() -> Flask:
    """An app that raises the exceptions of its views; each test installs its own services."""
    app = create_app(Settings(log_level="CRITICAL"), MemoryBackend())
    app.testing = True
    app.register_error_handler(Exception, _raise)
    app.after_request(_no_defect)
    return app


@pytest.fixture
def app(
    shell: Flask,
    settings: Settings,
    backend: MemoryBackend,
    clock: Clock,
    _background_threads: None,
) -> Iterator[Flask]:
    """The app on an empty cloud; the tests run the engine themselves."""
    configure(settings.log_level)
    services = bootstrap(settings, backend, clock)
    services.engine.stop()
    services.backend.breaker.stop_probing()
    shell.extensions["vmapi"] = services
    yield shell
    services.store.close()


@pytest.fixture(scope="session")
def document(shell: Flask) -> Any:
    """The OpenAPI document."""
    return shell.test_client().get("/openapi.json").json


@pytest.fixture
def harness(app: Flask, backend: MemoryBackend, clock: Clock) -> ApiHarness:
    return ApiHarness(app, backend, clock)


def _raise(error: Exception) -> Response:
    raise error


def _no_defect(response: Response) -> Response:
    assert response.status_code != 500, response.get_data(as_text=True)
    return response
