"""Fixtures of the API tests: apps with other settings, and event streams."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from tests.support.api_harness import ApiHarness
from tests.support.event_stream import EventStream, OpenStream
from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.settings.settings import Settings


@pytest.fixture
def serve_app() -> Iterator[Callable[..., Flask]]:
    """Return a function that builds an app; the fixture closes every app."""
    created: list[Flask] = []

    def serve(**settings: Any) -> Flask:
        # requests from other addresses are accepted, too
        settings = {"log_level": "CRITICAL", "allow_anonymous": True, **settings}
        app = create_app(Settings(**settings), MemoryBackend())
        app.extensions["vmapi"].engine.stop()
        app.extensions["vmapi"].backend.breaker.stop_probing()
        created.append(app)
        return app

    yield serve
    for app in created:
        app.extensions["vmapi"].store.close()


@pytest.fixture
def open_stream(harness: ApiHarness) -> Iterator[OpenStream]:
    """Return a function that opens an event stream; the fixture closes open streams."""
    begun: list[EventStream] = []

    def begin(query: str = "", last: str | None = None) -> EventStream:
        begun.append(EventStream(harness, query, last))
        return begun[-1]

    yield begin
    for stream in begun:
        stream.close()
