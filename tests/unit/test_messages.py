"""Celery as a bell: without a broker it says so and does no harm."""

import socket
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from vmapi.engine.elsewhere import Elsewhere
from vmapi.engine.messages import TASK, Bell


@pytest.fixture
def nobody() -> Iterator[str]:
    """The URL of a broker that is not there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"amqp://guest:hunter2@127.0.0.1:{taken.getsockname()[1]}//"


def test_who_serves_says_so_and_goes_on(nobody: str) -> None:
    bell = Bell(nobody)
    with capture_logs() as logs:
        bell.wake("1")
        bell.wake()
    bell.stop()
    assert logs == [
        {
            "event": "the broker is away; a sweep will find it",
            "operation_id": "1",
            "log_level": "warning",
        }
    ]


def test_a_message_names_the_operation_and_grows_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    bell = Bell("memory://")
    sent = []
    monkeypatch.setattr(bell._app, "send_task", lambda *given, **named: sent.append((given, named)))
    bell.wake("1")
    ((given, named),) = sent
    assert given == (TASK, ("1",))
    assert (named["expires"], named["retry"]) == (30, False)
    bell.stop()


def test_workers_that_look_themselves_need_no_bell() -> None:
    elsewhere = Elsewhere()
    elsewhere.wake()
    elsewhere.wake("1")
    elsewhere.stop()
