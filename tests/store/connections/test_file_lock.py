"""The file lock of SQLite: no thread waits without a limit, and the file is named."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from structlog.testing import capture_logs

from tests.support.file_lock import lock_of_another_process
from tests.support.http_client import WAIT_SECONDS
from vmapi.errors import StoreUnavailable
from vmapi.store import schema
from vmapi.store.connections import file_lock
from vmapi.store.connections.answer_timeout import answer_timeout
from vmapi.store.database import Database

TIMEOUT = 0.3


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vmapi.sqlite3"


def test_lock_of_another_process_is_waited_for_and_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_lock, "FILE_LOCK_WARNING_SECONDS", 0)
    database = Database(f"sqlite:///{path}", 4, schema.ensure_current)
    with (
        lock_of_another_process(path),
        answer_timeout(TIMEOUT),
        capture_logs() as logs,
        pytest.raises(StoreUnavailable, match="Another process has locked") as caught,
    ):
        database.ping()
    assert caught.value.reason == (
        f"{path}.lock is locked: wait until the other process has created or upgraded the "
        f"database, or end that process if it hangs (fuser {path}.lock)"
    )
    warnings = [line for line in logs if line["event"].startswith("database file is locked")]
    assert [line["path"] for line in warnings] == [f"{path}.lock"]
    database.ping()
    database.close()


def test_request_waits_no_longer_for_a_thread_that_opens_the_database(path: Path) -> None:
    opening, may_open = Event(), Event()

    def prepare(database: Database) -> None:
        opening.set()
        assert may_open.wait(WAIT_SECONDS)
        schema.ensure_current(database)

    database = Database(f"sqlite:///{path}", 4, prepare)
    with ThreadPoolExecutor(1) as background:
        first = background.submit(database.ping)
        assert opening.wait(WAIT_SECONDS)
        with answer_timeout(TIMEOUT), pytest.raises(StoreUnavailable) as caught:
            database.ping()
        may_open.set()
        first.result()
    assert caught.value.detail == "vmapi's database does not answer."
    assert caught.value.reason == "another thread still opens the database"
    database.ping()
    database.close()
