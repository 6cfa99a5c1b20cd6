"""Apps of their own, for tests that need other settings."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.settings import Settings


@pytest.fixture
def served() -> Iterator[Callable[..., Flask]]:
    """Make apps of their own, that are closed afterwards."""
    made: list[Flask] = []

    def serve(**settings: Any) -> Flask:
        # what is asked from elsewhere is answered too
        settings = {"log_level": "CRITICAL", "allow_anonymous": True, **settings}
        app = create_app(Settings(**settings), MemoryBackend())
        app.extensions["vmapi"].engine.stop()
        made.append(app)
        return app

    yield serve
    for app in made:
        app.extensions["vmapi"].store.close()
