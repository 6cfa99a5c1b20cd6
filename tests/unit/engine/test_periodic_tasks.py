"""House is kept once a second, whatever else happens."""

import threading
import time
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.support.blocking_source import GUARD_TIMEOUT, BlockingSource, wait_until
from vmapi.engine.thread import ENGINE_THREADS, EngineThread
from vmapi.errors import StoreUnavailable
from vmapi.services.periodic import PeriodicTask


@pytest.fixture
def engine() -> Iterator[EngineThread]:
    engine = EngineThread(tick_seconds=0.001)
    yield engine
    engine.stop()


def test_house_is_kept_again_and_again_whatever_goes_wrong(engine: EngineThread) -> None:
    errors = [StoreUnavailable("away"), ZeroDivisionError("a defect")]
    kept = []

    def chores() -> None:
        kept.append(threading.current_thread().name)
        if errors:
            raise errors.pop(0)

    engine.configure(BlockingSource(), {"housekeeping": PeriodicTask(chores, 0.001)})
    with capture_logs() as logs:
        engine.notify()
        wait_until(lambda: len(kept) >= 4)
        engine.stop()
    assert set(kept) == {"housekeeping"}
    assert [(line["event"], line["log_level"], line.get("reason")) for line in logs] == [
        ("periodic task deferred", "warning", "away"),
        ("periodic task failed", "error", None),
    ]
    before = len(kept)
    time.sleep(0.01)
    assert len(kept) == before


def test_house_is_kept_while_everything_else_hangs(engine: EngineThread) -> None:
    ids = [f"op-{number}" for number in range(ENGINE_THREADS)]
    work, kept = BlockingSource(*ids), threading.Event()
    work.blocked_ids = set(ids)

    def chores() -> None:
        if len(work.started_ids) == ENGINE_THREADS:
            kept.set()

    engine.configure(work, {"housekeeping": PeriodicTask(chores, 0.001)})
    engine.notify()
    assert kept.wait(GUARD_TIMEOUT)
    work.released.set()


def test_house_is_kept_once_a_second(engine: EngineThread, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float | None] = []
    wait = engine._stopping.wait

    def quickly(timeout: float | None = None) -> bool:
        if threading.current_thread().name == "housekeeping":
            waited.append(timeout)
            return wait(0.001)
        return wait(timeout)

    monkeypatch.setattr(engine._stopping, "wait", quickly)
    kept: list[int] = []
    engine.configure(
        BlockingSource(), {"housekeeping": PeriodicTask(lambda: kept.append(len(waited)))}
    )
    engine.notify()
    wait_until(lambda: len(kept) >= 3)
    engine.stop()
    # one wait of a second before each time, the first one as well
    assert kept == list(range(1, len(kept) + 1))
    assert set(waited) == {1.0}
