"""Celery as a bell: whatever the broker does, it fails no request, holds none, and says so once."""

import socket
import threading
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.support.blocking_source import GUARD_TIMEOUT, wait_until
from tests.support.fake_rabbitmq import FakeBroker, run_fake_broker
from vmapi.engine import celery_notifier as messages
from vmapi.engine.celery_notifier import NOTIFY_QUEUE_SIZE, NOTIFY_TASK_NAME, CeleryNotifier
from vmapi.engine.external import ExternalEngine

AWAY = "broker unavailable, falling back to polling"
BACK = "broker available again"


@pytest.fixture
def nobody() -> Iterator[str]:
    """The URL of a broker that is not there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"amqp://guest:hunter2@127.0.0.1:{taken.getsockname()[1]}//"


@pytest.fixture
def rabbit() -> Iterator[FakeBroker]:
    with run_fake_broker() as one:
        yield one


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bell that gives no broker up which is only slow."""
    monkeypatch.setattr(messages, "BROKER_TIMEOUT", GUARD_TIMEOUT)


@pytest.fixture
def impatient(patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bell that soon gives a broker up."""
    monkeypatch.setattr(messages, "BROKER_TIMEOUT", 0.2)


def bells() -> int:
    return sum(thread.name == "celery-notifier" for thread in threading.enumerate())


def test_a_message_is_sent_for_each_operation(rabbit: FakeBroker) -> None:
    bell = CeleryNotifier(rabbit.url)
    bell.notify()
    assert bells() == 0
    with capture_logs() as logs:
        for number in range(5):
            bell.notify(str(number))
        # what waits is sent before
        bell.stop()
    assert (rabbit.confirmed_count, rabbit.connection_count, bells(), logs) == (5, 1, 0, [])


def test_a_broker_that_is_not_there_is_told_of_once(nobody: str) -> None:
    bell = CeleryNotifier(nobody)
    with capture_logs() as logs:
        for number in range(3):
            bell.notify(str(number))
        bell.stop()
    (line,) = logs
    assert (line["event"], line["log_level"]) == (AWAY, "warning")
    assert line["reason"].startswith("ConnectionRefusedError: ")
    assert "hunter2" not in str(line)


@pytest.mark.usefixtures("impatient")
def test_a_broker_that_confirms_nothing_holds_nobody(rabbit: FakeBroker) -> None:
    bell = CeleryNotifier(rabbit.url)
    rabbit.is_silent = True

    def ask() -> None:
        for number in range(3 * NOTIFY_QUEUE_SIZE):
            bell.notify(str(number))

    with capture_logs() as logs:
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(GUARD_TIMEOUT)
        assert not asking.is_alive()
        wait_until(lambda: rabbit.request_count > 2)
        assert [(line["event"], line["reason"]) for line in logs] == [(AWAY, "TimeoutError")]
        rabbit.is_silent = False
        wait_until(lambda: rabbit.confirmed_count > 0)
        wait_until(bell._queue.empty)
        bell.stop()
    assert [line["event"] for line in logs] == [AWAY, BACK]
    # the rest was dropped
    assert rabbit.confirmed_count <= NOTIFY_QUEUE_SIZE
    wait_until(lambda: bells() == 0)


@pytest.mark.usefixtures("impatient")
def test_a_stop_does_not_wait_for_a_broker_that_says_nothing(
    rabbit: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    bell = CeleryNotifier(rabbit.url)
    sending, go = threading.Event(), threading.Event()
    monkeypatch.setattr(bell, "_send", lambda *_: (sending.set(), go.wait(GUARD_TIMEOUT)))
    bell.notify("1")
    assert sending.wait(GUARD_TIMEOUT)
    stopping = threading.Thread(target=bell.stop, daemon=True)
    stopping.start()
    stopping.join(GUARD_TIMEOUT / 2)
    stopped = not stopping.is_alive()
    go.set()
    assert stopped
    wait_until(lambda: bells() == 0)
    bell.notify("2")
    assert bells() == 0


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (
            {"declare_error": (406, b"PRECONDITION_FAILED")},
            "PreconditionFailed: Queue.declare: (406)",
        ),
        ({"declare_error": (403, b"ACCESS_REFUSED")}, "AccessRefused: Queue.declare: (403)"),
        ({"rejects": True}, "MessageNacked"),
    ],
    ids=["another queue", "no rights", "full"],
)
def test_what_the_broker_refuses_is_told_once_until_it_takes_it(
    rabbit: FakeBroker, trouble: dict[str, object], reason: str
) -> None:
    bell = CeleryNotifier(rabbit.url)
    for name, value in trouble.items():
        setattr(rabbit, name, value)
    with capture_logs() as logs:
        for number in range(3):
            bell.notify(str(number))
        wait_until(lambda: rabbit.request_count == 3)
        wait_until(bell._queue.empty)
        rabbit.declare_error, rabbit.rejects = None, False
        wait_until(lambda: bool(bell.notify("later") or rabbit.confirmed_count))
        bell.stop()
    assert [line["event"] for line in logs] == [AWAY, BACK]
    assert logs[0]["reason"].startswith(reason)


def test_without_a_thread_to_be_had_it_is_tried_again(
    rabbit: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    bell = CeleryNotifier(rabbit.url)

    def none(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(messages.threading.Thread, "start", none)
        bell.notify("1")
    bell.notify("2")
    bell.stop()
    assert rabbit.confirmed_count == 1


def test_a_message_names_the_operation_and_grows_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    bell = CeleryNotifier("memory://")
    sent = []
    monkeypatch.setattr(bell._app, "send_task", lambda *given, **named: sent.append((given, named)))
    bell.notify("1")
    bell.stop()
    ((given, named),) = sent
    assert given == (NOTIFY_TASK_NAME, ("1",))
    assert (named["expires"], named["retry"]) == (30, False)


def test_workers_that_look_themselves_need_no_bell() -> None:
    elsewhere = ExternalEngine()
    elsewhere.notify()
    elsewhere.notify("1")
    elsewhere.stop()
