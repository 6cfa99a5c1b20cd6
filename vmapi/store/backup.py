"""Copy a SQLite database while processes use it, and name the command for PostgreSQL."""

import os
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL

from vmapi.errors import StoreUnavailable
from vmapi.store.connections.outages import SECRET_OPTIONS
from vmapi.store.connections.sqlite_files import PRIVATE_FILE_MODE
from vmapi.store.database import Database

PARTIAL_SUFFIX = ".partial"


def back_up_sqlite(database: Database, target: Path) -> int:
    """Write a consistent copy of a SQLite database to a new file; return its size in bytes.

    Other processes may read and write. The copy is checked, and on the disk when this returns; it
    is readable by its owner only. Raises FileExistsError, OSError, StoreUnavailable. After an error
    the target does not exist.
    """
    partial = target.with_name(target.name + PARTIAL_SUFFIX)
    with _new_file(target), _new_file(partial):
        with database.read() as connection:
            # in one read transaction: https://www.sqlite.org/lang_vacuum.html#vacuuminto
            connection.exec_driver_sql("VACUUM INTO ?", (str(partial),))
        _check_copy(partial)
        _flush(partial)
        partial.rename(target)
    _flush(target.parent)
    return target.stat().st_size


def describe_pg_dump(url: URL, target: Path) -> str:
    """Return the shell command that backs a PostgreSQL database up, without its password."""
    public = url.set(drivername="postgresql").difference_update_query(SECRET_OPTIONS)
    address = URL.create(
        public.drivername,
        username=public.username,
        host=public.host,
        port=public.port,
        database=public.database,
        query=public.query,
    )
    dump = ["pg_dump", "--format=custom", f"--file={target}"]
    return f"umask 077 && {shlex.join([*dump, f'--dbname={address.render_as_string()}'])}"


@contextmanager
def _new_file(path: Path) -> Iterator[None]:
    """Create a private file; remove it if the block fails. Raises FileExistsError."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE_FILE_MODE))
    try:
        yield
    except BaseException:
        with suppress(FileNotFoundError):
            path.unlink()
        raise


def _check_copy(path: Path) -> None:
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as copy:
        problems = copy.execute("PRAGMA quick_check(1)").fetchall()
    if problems != [("ok",)]:
        raise StoreUnavailable(f"The copy is damaged: {problems}")


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
