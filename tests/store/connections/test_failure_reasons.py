"""The reason of a failure: it names the place and the cause, and never a secret."""

import os
import socket
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from tests.support.small_disk import SmallDisk, mount_small_disk
from vmapi.errors import StoreUnavailable
from vmapi.store import schema
from vmapi.store.connections import engine_setup
from vmapi.store.connections.outages import OutageReporter, url_secrets
from vmapi.store.database import Database
from vmapi.store.inspection import inspect

NO_SPACE = "vmapi's database has no space left."
NO_ANSWER = "vmapi's database does not answer."


def fail(url: str, cause: Exception) -> StoreUnavailable:
    """Return the error of a transaction that the driver fails with a cause."""
    parsed = make_url(url)
    reporter = OutageReporter(url_secrets(parsed), url=parsed)
    with pytest.raises(StoreUnavailable) as caught, reporter.watch(writes=False):
        raise OperationalError("SELECT 1", None, cause)
    return caught.value


def sqlite_error(text: str, code: int, name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode, error.sqlite_errorname = code, name
    return error


IO_ERROR = sqlite_error("disk I/O error", sqlite3.SQLITE_IOERR_SHMSIZE, "SQLITE_IOERR_SHMSIZE")
CANNOT_OPEN = sqlite_error("unable to open database file", 14, "SQLITE_CANTOPEN")


@pytest.mark.parametrize("cause", [IO_ERROR, CANNOT_OPEN], ids=["input or output", "open"])
@pytest.mark.parametrize(
    ("free_blocks", "free_files", "detail"),
    [(0, 100, NO_SPACE), (1000, 0, NO_SPACE), (1000, 100, NO_ANSWER)],
)
def test_error_on_a_full_disk_is_a_lack_of_space(
    monkeypatch: pytest.MonkeyPatch,
    cause: Exception,
    free_blocks: int,
    free_files: int,
    detail: str,
) -> None:
    disk = SimpleNamespace(f_bavail=free_blocks, f_frsize=4096, f_files=100, f_favail=free_files)
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    error = fail("sqlite:////data/vmapi.sqlite3", cause)
    assert error.detail == detail
    assert error.reason.startswith(f"/data/vmapi.sqlite3: {cause}")


def test_input_or_output_error_has_the_name_of_the_call_that_failed() -> None:
    error = fail("sqlite:////data/vmapi.sqlite3", IO_ERROR)
    assert error.reason == "/data/vmapi.sqlite3: disk I/O error (SQLITE_IOERR_SHMSIZE)"


def test_file_that_the_system_refuses_has_the_words_of_the_system() -> None:
    error = fail("sqlite:////dev/null/vmapi.sqlite3", CANNOT_OPEN)
    assert error.reason == (
        "/dev/null/vmapi.sqlite3: unable to open database file (Not a directory)"
    )


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mount_small_disk(tmp_path / "disk") as disk:
        yield disk


@pytest.mark.parametrize("use", [Database.ping, inspect], ids=["serve", "db check"])
def test_full_disk_without_room_for_the_wal_is_a_lack_of_space(
    disk: SmallDisk, use: Callable[[Database], object]
) -> None:
    url = f"sqlite:///{disk.folder}/vmapi.sqlite3"
    database = Database(url, 2, schema.ensure_current)
    database.ping()
    # removes the WAL
    database.close()
    disk.fill()
    database = Database(url, 2, schema.ensure_current)
    with pytest.raises(StoreUnavailable) as caught:
        use(database)
    assert caught.value.detail == NO_SPACE
    assert f"{disk.folder}/vmapi.sqlite3" in caught.value.reason
    disk.free()
    use(database)
    database.close()


def test_full_disk_without_room_for_a_database_is_a_lack_of_space(disk: SmallDisk) -> None:
    disk.fill()
    database = Database(f"sqlite:///{disk.folder}/vmapi.sqlite3", 2, schema.ensure_current)
    with pytest.raises(StoreUnavailable) as caught:
        database.ping()
    assert caught.value.detail == NO_SPACE
    database.close()


def connect(url: str) -> str:
    """Return the reason why PostgreSQL at a URL does not answer."""
    database = Database(url, 2, schema.ensure_current)
    with pytest.raises(StoreUnavailable) as caught:
        database.ping()
    database.close()
    return caught.value.reason


def test_server_that_accepts_and_says_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engine_setup.LIBPQ_TIMEOUTS, "connect_timeout", 2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        reason = connect(f"postgresql+psycopg://u:hunter2@{address}/vms")
    assert reason == f"{address}/vms: connection timeout expired"


def test_unknown_host_is_named() -> None:
    reason = connect("postgresql+psycopg://u:hunter2@database.invalid:5433/vms")
    assert reason.startswith(
        "database.invalid:5433/vms: failed to resolve host 'database.invalid': "
    )


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        ("e", "db:5432/vms: entry refused: exit, '***', ***@db"),
        ("ex", "db:5432/vms: entry refused: exit, 'e', e@db"),
        ("exit", "db:5432/vms: entry refused: ***, 'e', e@db"),
    ],
)
def test_short_password_is_hidden_where_it_stands_alone(password: str, expected: str) -> None:
    cause = Exception("entry refused: exit, 'e', e@db")
    assert fail(f"postgresql+psycopg://u:{password}@db/vms", cause).reason == expected
