"""Copies of a SQLite database in use, and the command for PostgreSQL."""

import shlex
import sqlite3
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.support.audit_chain import append_entries, build_entry, list_rows
from tests.support.databases import THREADS, new_postgresql
from tests.support.fake_clock import Clock
from tests.support.http_client import wait_until
from vmapi.errors import StoreUnavailable
from vmapi.store import schema
from vmapi.store.backup import back_up_sqlite, describe_pg_dump
from vmapi.store.database import Database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "folder with spaces"


@pytest.fixture
def sqlite(folder: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{folder}/vmapi.sqlite3", 4, schema.ensure_current)
    database.ping()
    yield database
    database.close()


def count_entries(path: Path) -> tuple[int, int]:
    """Return the number of the audit entries in a copy, and the id of the last one."""
    with closing(sqlite3.connect(path)) as copy:
        count, last = copy.execute("SELECT count(*), max(id) FROM audit_entries").fetchone()
    return count, last


def test_copy_is_private_complete_and_no_wal_is_needed(sqlite: Database, folder: Path) -> None:
    append_entries(sqlite, *(build_entry(Clock()(), number) for number in range(100)))
    target = folder / "copy"
    size = back_up_sqlite(sqlite, target)
    assert target.stat().st_size == size > 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert count_entries(target) == (100, 100)
    assert sorted(path.name for path in folder.glob("copy*")) == ["copy"]


def test_copy_has_whole_transactions_of_a_busy_writer(sqlite: Database, folder: Path) -> None:
    stopping = threading.Event()

    def write() -> None:
        while not stopping.is_set():
            append_entries(sqlite, *(build_entry(Clock()(), number) for number in range(10)))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_until("entries are written", lambda: len(list_rows(sqlite)) >= 100)
        before = len(list_rows(sqlite))
        back_up_sqlite(sqlite, folder / "copy")
    finally:
        stopping.set()
        writer.join()
    count, last = count_entries(folder / "copy")
    assert count == last
    assert count % 10 == 0
    assert before <= count <= len(list_rows(sqlite))


@pytest.mark.parametrize("kind", ["file", "link", "folder", "partial"])
def test_existing_file_is_not_overwritten(kind: str, sqlite: Database, folder: Path) -> None:
    target = folder / "copy"
    if kind == "file":
        target.write_text("precious")
    elif kind == "link":
        target.symlink_to(folder / "elsewhere")
    elif kind == "folder":
        target.mkdir()
    else:
        (folder / "copy.partial").write_text("precious")
    before = sorted(folder.iterdir())
    with pytest.raises(FileExistsError):
        back_up_sqlite(sqlite, target)
    assert sorted(folder.iterdir()) == before
    assert kind != "file" or target.read_text() == "precious"


def test_failed_copy_leaves_no_file(sqlite: Database, folder: Path) -> None:
    sqlite.close()
    path = folder / "vmapi.sqlite3"
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 40_000)
    damaged = Database(f"sqlite:///{path}", 4, lambda _: None)
    with pytest.raises(StoreUnavailable, match="damaged"):
        back_up_sqlite(damaged, folder / "copy")
    damaged.close()
    assert list(folder.glob("copy*")) == []


def test_folder_that_does_not_exist_is_reported(sqlite: Database, folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        back_up_sqlite(sqlite, folder / "missing" / "copy")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:hunter2@db.example.org:5433/vmapi",
        "postgresql+psycopg://me@db.example.org:5433/vmapi?password=hunter2",
        "postgresql+psycopg://me@db.example.org:5433/vmapi?sslpassword=hunter2&passfile=/hunter2",
    ],
)
def test_command_for_postgresql_has_no_password(url: str) -> None:
    command = describe_pg_dump(make_url(url), Path("/backups/x y"))
    assert command == (
        "umask 077 && pg_dump --format=custom '--file=/backups/x y' "
        "--dbname=postgresql://me@db.example.org:5433/vmapi"
    )


def test_command_for_postgresql_keeps_other_options() -> None:
    url = make_url("postgresql+psycopg://me@/vmapi?host=/run/pg&sslmode=require")
    *_, address = shlex.split(describe_pg_dump(url, Path("/x")))
    assert address == "--dbname=postgresql://me@/vmapi?host=%2Frun%2Fpg&sslmode=require"


def test_command_for_postgresql_is_a_backup(
    postgresql: Callable[[], Database], tmp_path: Path
) -> None:
    source = postgresql()
    append_entries(source, build_entry(Clock()(), 1))
    command = describe_pg_dump(source.engine.url, tmp_path / "dump")
    subprocess.run(["sh", "-c", command], check=True, timeout=60)
    assert stat.S_IMODE((tmp_path / "dump").stat().st_mode) == 0o600
    with new_postgresql() as url:
        address = make_url(url).set(drivername="postgresql").render_as_string()
        restore = ("pg_restore", "--no-owner", f"--dbname={address}", str(tmp_path / "dump"))
        subprocess.run(restore, check=True, timeout=60)
        restored = Database(url, THREADS, schema.ensure_current)
        assert [row.operation_id for row in list_rows(restored)] == [
            row.operation_id for row in list_rows(source)
        ]
        restored.close()
