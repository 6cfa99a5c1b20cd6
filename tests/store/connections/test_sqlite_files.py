"""The files of SQLite: private, and refused once they are deleted, replaced or overwritten."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from vmapi.errors import StoreUnavailable
from vmapi.store import schema
from vmapi.store.database import Database

GONE = "vmapi's database file was deleted or replaced."
DAMAGED = "vmapi's database is damaged."
INSERT_KEY = text("INSERT INTO signing_keys (name, key) VALUES (:name, 'k')")
SELECT_KEYS = text("SELECT name FROM signing_keys")
CHECKPOINT_SCRIPT = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
connection.close()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "vmapi.sqlite3"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = open_database(path)
    database.ping()
    yield database
    database.close()


def open_database(path: Path) -> Database:
    return Database(f"sqlite:///{path}", 4, schema.ensure_current)


def insert_key(database: Database, name: str = "a") -> None:
    with database.write() as connection:
        connection.execute(INSERT_KEY, {"name": name})


def read_keys(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(SELECT_KEYS).scalars())


def side_file(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def checkpoint(path: Path) -> None:
    """Move every page into the file, from another process: a reader here would hold locks."""
    subprocess.run([sys.executable, "-c", CHECKPOINT_SCRIPT, str(path)], check=True)


def delete(path: Path) -> None:
    path.unlink()


def delete_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def replace_with_copy(path: Path) -> None:
    shutil.copy(path, side_file(path, ".copy"))
    side_file(path, ".copy").rename(path)


def replace_with(content: bytes) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        side_file(path, ".new").write_bytes(content)
        side_file(path, ".new").rename(path)

    return replace


def replace_with_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def empty(path: Path) -> None:
    os.truncate(path, 0)


def truncate(path: Path) -> None:
    checkpoint(path)
    os.truncate(path, 8192)


def overwrite(offset: int) -> Callable[[Path], None]:
    def act(path: Path) -> None:
        checkpoint(path)
        size = path.stat().st_size
        subprocess.run(
            [
                *("dd", "if=/dev/urandom", f"of={path}", "bs=4096", "conv=notrunc"),
                *("status=none", f"seek={offset}", f"count={size // 4096 - offset}"),
            ],
            check=True,
        )

    return act


FAULTS = {
    "deleted": (delete, GONE),
    "folder deleted": (delete_folder, GONE),
    "replaced by a copy": (replace_with_copy, GONE),
    "replaced by an empty file": (replace_with(b""), GONE),
    "replaced by garbage": (replace_with(b"garbage" * 10_000), GONE),
    "replaced by a folder": (replace_with_folder, GONE),
    "WAL deleted": (lambda path: side_file(path, "-wal").unlink(), GONE),
    "WAL index deleted": (lambda path: side_file(path, "-shm").unlink(), GONE),
    "emptied": (empty, GONE),
    "truncated": (truncate, DAMAGED),
    "overwritten": (overwrite(0), DAMAGED),
    "overwritten behind the header": (overwrite(1), DAMAGED),
}


def test_database_continues_after_its_last_connection_was_closed(
    database: Database, path: Path
) -> None:
    insert_key(database)
    database.engine.dispose()
    assert not side_file(path, "-wal").exists()
    insert_key(database, "b")
    assert read_keys(database) == ["a", "b"]


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_open_connection_with_a_missing_wal_refuses_another_one(
    database: Database, path: Path, suffix: str
) -> None:
    with database.engine.connect():
        side_file(path, suffix).unlink()
        with pytest.raises(StoreUnavailable, match=GONE), database.engine.connect():
            pass


@pytest.mark.parametrize("fault", FAULTS)
def test_lost_file_is_unavailable_and_logged_once(
    database: Database, path: Path, fault: str
) -> None:
    insert_key(database)
    assert read_keys(database) == ["a"]
    break_file, detail = FAULTS[fault]
    break_file(path)
    with capture_logs() as logs:
        for attempt in (lambda: insert_key(database, "b"), lambda: read_keys(database)):
            with pytest.raises(StoreUnavailable) as caught:
                attempt()
            assert caught.value.detail == detail
        with pytest.raises(StoreUnavailable):
            database.ping()
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("database unavailable", "warning")
    ]


def test_file_that_comes_back_is_used_again(database: Database, path: Path) -> None:
    elsewhere = side_file(path, ".elsewhere")
    path.rename(elsewhere)
    with pytest.raises(StoreUnavailable, match="deleted or replaced"):
        insert_key(database)
    assert not path.exists()
    elsewhere.rename(path)
    insert_key(database)
    assert read_keys(database) == ["a"]


def test_new_connection_refuses_a_replaced_file(database: Database, path: Path) -> None:
    replace_with_copy(path)
    database.engine.dispose()
    with pytest.raises(StoreUnavailable, match="deleted or replaced"):
        database.ping()


def test_checkpoint_of_another_process_is_no_fault(database: Database, path: Path) -> None:
    other = open_database(path)
    for number in range(3):
        insert_key(database, f"a{number}")
        insert_key(other, f"b{number}")
        checkpoint(path)
        assert len(read_keys(database)) == len(read_keys(other)) == 2 * number + 2
    other.close()
    assert len(read_keys(database)) == 6


def test_file_that_is_no_database_is_unavailable(path: Path) -> None:
    content = b"garbage" * 10_000
    path.parent.mkdir()
    path.write_bytes(content)
    database = open_database(path)
    with pytest.raises(StoreUnavailable) as caught:
        database.ping()
    assert (caught.value.detail, caught.value.reason) == (
        DAMAGED,
        f"{path}: file is not a database",
    )
    assert path.read_bytes() == content
    # the operator puts a database in its place
    path.unlink()
    open_database(path).ping()
    database.ping()
    database.close()


@pytest.mark.parametrize("folder", ["/proc/vmapi", "/dev/null/vmapi"])
def test_folder_that_cannot_be_made_is_unavailable(folder: str) -> None:
    database = open_database(Path(folder) / "vmapi.sqlite3")
    for _ in range(2):
        with pytest.raises(StoreUnavailable) as caught:
            database.ping()
        assert caught.value.detail == "vmapi's database file cannot be opened."
        assert folder in caught.value.reason


def test_full_database_is_unavailable_until_it_has_space(database: Database, path: Path) -> None:
    with database.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreUnavailable) as caught:
        insert_key(database, "x" * 100_000)
    assert caught.value.detail == "vmapi's database has no space left."
    assert caught.value.reason == f"{path}: database or disk is full"
    # reads work, and so does a write without a new page
    assert read_keys(database) == []
    database.ping()


def test_new_files_are_private(database: Database, path: Path) -> None:
    insert_key(database)
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    names = ("vmapi.sqlite3", "vmapi.sqlite3-wal", "vmapi.sqlite3-shm", "vmapi.sqlite3.lock")
    assert modes == dict.fromkeys(names, 0o600)
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("mode", "expected"), [(0o644, 0o600), (0o666, 0o600), (0o660, 0o660), (0o400, 0o400)]
)
def test_file_that_was_open_to_all_users_is_made_private(
    path: Path, mode: int, expected: int
) -> None:
    path.parent.mkdir(mode=0o755)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    path.chmod(mode)
    side_file(path, ".lock").touch(mode=0o644)
    database = open_database(path)
    with capture_logs() as logs:
        database.ping()
    assert path.stat().st_mode & 0o777 == expected
    assert side_file(path, "-wal").stat().st_mode & 0o777 == expected
    assert side_file(path, ".lock").stat().st_mode & 0o777 == 0o600
    opened = [line["path"] for line in logs if line["log_level"] == "warning"]
    assert opened == [str(path)] * (mode != expected) + [f"{path}.lock"]
    # the folder may have other purposes
    assert path.parent.stat().st_mode & 0o777 == 0o755
    database.close()
