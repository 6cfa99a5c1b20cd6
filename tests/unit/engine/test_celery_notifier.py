"""The Celery notifier: a failing broker blocks no request and is logged once."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from structlog.testing import capture_logs

from tests.support.blocking_source import GUARD_TIMEOUT, wait_until
from tests.support.fake_rabbitmq import FakeBroker, run_fake_broker
from tests.support.metrics import RecordedMetrics
from vmapi.engine import celery_notifier
from vmapi.engine.celery_notifier import NOTIFY_QUEUE_SIZE, NOTIFY_TASK_NAME, CeleryNotifier
from vmapi.engine.external import ExternalEngine

UNAVAILABLE_EVENT = "broker unavailable, falling back to polling"
AVAILABLE_EVENT = "broker available again"


@pytest.fixture
def closed_broker_url() -> Iterator[str]:
    """Return the URL of a port without a broker."""
    with socket.socket() as bound_socket:
        bound_socket.bind(("127.0.0.1", 0))
        yield f"amqp://guest:hunter2@127.0.0.1:{bound_socket.getsockname()[1]}//"


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    with run_fake_broker() as fake_broker:
        yield fake_broker


@pytest.fixture(autouse=True)
def long_broker_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set a broker timeout that a slow broker does not reach."""
    monkeypatch.setattr(celery_notifier, "BROKER_TIMEOUT", GUARD_TIMEOUT)


@pytest.fixture
def short_broker_timeout(long_broker_timeout: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set a broker timeout that a silent broker reaches at once."""
    monkeypatch.setattr(celery_notifier, "BROKER_TIMEOUT", 0.2)


def count_notifier_threads() -> int:
    return sum(thread.name == "celery-notifier" for thread in threading.enumerate())


def test_notify_sends_one_message_per_operation(broker: FakeBroker) -> None:
    notifier = CeleryNotifier(broker.url)
    notifier.notify()
    assert count_notifier_threads() == 0
    with capture_logs() as logs:
        for number in range(5):
            notifier.notify(str(number))
        # queued messages are sent before the stop
        notifier.stop()
    assert (broker.confirmed_count, broker.connection_count, count_notifier_threads(), logs) == (
        5,
        1,
        0,
        [],
    )


def test_unreachable_broker_is_logged_once(closed_broker_url: str) -> None:
    notifier = CeleryNotifier(closed_broker_url)
    with capture_logs() as logs:
        for number in range(3):
            notifier.notify(str(number))
        notifier.stop()
    (line,) = logs
    assert (line["event"], line["log_level"]) == (UNAVAILABLE_EVENT, "warning")
    assert line["reason"].startswith("ConnectionRefusedError: ")
    assert "hunter2" not in str(line)


@pytest.mark.usefixtures("short_broker_timeout")
def test_broker_without_confirmations_blocks_no_notify(broker: FakeBroker) -> None:
    notifier = CeleryNotifier(broker.url)
    broker.is_silent = True

    def notify_many() -> None:
        for number in range(3 * NOTIFY_QUEUE_SIZE):
            notifier.notify(str(number))

    with capture_logs() as logs:
        notifying = threading.Thread(target=notify_many, daemon=True)
        notifying.start()
        notifying.join(GUARD_TIMEOUT)
        assert not notifying.is_alive()
        wait_until(lambda: broker.request_count > 2)
        assert [(line["event"], line["reason"]) for line in logs] == [
            (UNAVAILABLE_EVENT, "TimeoutError")
        ]
        broker.is_silent = False
        wait_until(lambda: broker.confirmed_count > 0)
        wait_until(lambda: notifier.queued_count == 0)
        notifier.stop()
    assert [line["event"] for line in logs] == [UNAVAILABLE_EVENT, AVAILABLE_EVENT]
    # messages beyond the queue size are dropped
    assert broker.confirmed_count <= NOTIFY_QUEUE_SIZE
    wait_until(lambda: count_notifier_threads() == 0)


@pytest.mark.usefixtures("short_broker_timeout")
def test_stop_does_not_wait_for_a_silent_broker(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    notifier = CeleryNotifier(broker.url)
    sending, unblock = threading.Event(), threading.Event()

    def block(*_: object, **__: object) -> None:
        sending.set()
        unblock.wait(GUARD_TIMEOUT)

    monkeypatch.setattr(Celery, "send_task", block)
    notifier.notify("1")
    assert sending.wait(GUARD_TIMEOUT)
    stopping = threading.Thread(target=notifier.stop, daemon=True)
    stopping.start()
    stopping.join(GUARD_TIMEOUT / 2)
    stopped = not stopping.is_alive()
    unblock.set()
    assert stopped
    wait_until(lambda: count_notifier_threads() == 0)
    notifier.notify("2")
    assert count_notifier_threads() == 0


@pytest.mark.parametrize(
    ("broker_state", "reason"),
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
def test_refusing_broker_is_logged_once_until_it_accepts_messages(
    broker: FakeBroker, broker_state: dict[str, object], reason: str
) -> None:
    notifier = CeleryNotifier(broker.url)
    for name, value in broker_state.items():
        setattr(broker, name, value)
    with capture_logs() as logs:
        for number in range(3):
            notifier.notify(str(number))
        wait_until(lambda: broker.request_count == 3)
        wait_until(lambda: notifier.queued_count == 0)
        broker.declare_error, broker.rejects = None, False
        wait_until(lambda: bool(notifier.notify("later") or broker.confirmed_count))
        notifier.stop()
    assert [line["event"] for line in logs] == [UNAVAILABLE_EVENT, AVAILABLE_EVENT]
    assert logs[0]["reason"].startswith(reason)


def test_failed_thread_start_is_retried_at_the_next_notify(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    notifier = CeleryNotifier(broker.url)

    def fail_to_start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(celery_notifier.threading.Thread, "start", fail_to_start)
        notifier.notify("1")
    notifier.notify("2")
    notifier.stop()
    assert broker.confirmed_count == 1


def test_message_names_the_operation_and_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    notifier = CeleryNotifier("memory://")
    send_calls = []

    def record_call(_: Celery, *args: Any, **kwargs: Any) -> None:
        send_calls.append((args, kwargs))

    monkeypatch.setattr(Celery, "send_task", record_call)
    notifier.notify("1")
    notifier.stop()
    ((args, kwargs),) = send_calls
    assert args == (NOTIFY_TASK_NAME, ("1",))
    assert (kwargs["expires"], kwargs["retry"]) == (30, False)


def test_external_engine_ignores_notify_and_stop() -> None:
    engine = ExternalEngine()
    engine.notify()
    engine.notify("1")
    engine.stop()


def test_messages_are_counted(broker: FakeBroker, metrics: RecordedMetrics) -> None:
    notifier = CeleryNotifier(broker.url)
    for number in range(3):
        notifier.notify(str(number))
    notifier.stop()
    assert metrics.sum("vmapi_celery_notifications_total", outcome="sent") == 3


def test_messages_without_a_broker_are_counted(
    closed_broker_url: str, metrics: RecordedMetrics
) -> None:
    notifier = CeleryNotifier(closed_broker_url)
    with capture_logs():
        notifier.notify("1")
        notifier.stop()
    assert metrics.sum("vmapi_celery_notifications_total", outcome="failed") == 1
