"""Fixtures of the API tests: apps with other settings, and event streams."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from flask import Flask

from tests.support.api_harness import ApiHarness
from tests.support.event_stream import (
    EVENTS_PATH,
    EventStream,
    OpenStream,
    build_headers,
    open_at_worker,
    open_in_thread,
)
from tests.support.worker_thread import serve
from vmapi.api.request.versions import ApiVersion
from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.settings.settings import Settings


@pytest.fixture
def serve_app() -> Iterator[Callable[..., Flask]]:
    """Return a function that builds an app; the fixture closes every app."""
    created: list[Flask] = []

    def serve(other_versions: tuple[ApiVersion, ...] = (), **settings: Any) -> Flask:
        # requests from other addresses are accepted, too
        settings = {"log_level": "CRITICAL", "allow_anonymous": True, **settings}
        app = create_app(Settings(**settings), MemoryBackend(), other_versions=other_versions)
        app.extensions["vmapi"].engine.stop()
        app.extensions["vmapi"].backend.breaker.stop_probing()
        created.append(app)
        return app

    yield serve
    for app in created:
        app.extensions["vmapi"].store.close()


@pytest.fixture(params=["thread", "worker"])
def open_stream(harness: ApiHarness, request: pytest.FixtureRequest) -> Iterator[OpenStream]:
    """Return a function that opens an event stream; the fixture closes open streams.

    A stream occupies a thread, as on most servers, or the poller thread of a worker writes it.
    """
    with ExitStack() as stack:
        worker = stack.enter_context(serve(harness.app)) if request.param == "worker" else None

        def begin(
            query: str = "",
            last: str | None = None,
            token: str | None = None,
            path: str = EVENTS_PATH,
        ) -> EventStream:
            headers = build_headers(last, token)
            stream = (
                open_at_worker(worker.address, query, headers, path)
                if worker
                else open_in_thread(harness, query, headers, path)
            )
            stack.callback(stream.close)
            return stream

        yield begin
