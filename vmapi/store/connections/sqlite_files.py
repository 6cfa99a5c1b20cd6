"""The files of a SQLite database: private, and still those that the connections have opened.

SQLite does not notice that its file was deleted or replaced. It continues in the deleted file, and
the changes are lost with the last connection. It also serves pages from its cache after another
program has overwritten them. Therefore each transaction compares the files first.

No file of the database is opened here but by SQLite: closing one would release the locks that
SQLite holds.
Source: https://www.sqlite.org/howtocorrupt.html
"""

import errno
import os
import sqlite3
import stat
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import structlog
from sqlalchemy import URL, Connection

from vmapi.errors import StoreUnavailable
from vmapi.store.connections.answer_timeout import current_answer_timeout
from vmapi.store.connections.file_lock import acquire_file_lock

log = structlog.get_logger("vmapi.store")

PRIVATE_FOLDER_MODE = 0o700
PRIVATE_FILE_MODE = 0o600

WAL_SUFFIXES = ("-wal", "-shm")
"""The files next to the database while a connection is open."""

DAMAGED = "vmapi's database is damaged."
NO_SPACE = "vmapi's database has no space left."
CANNOT_BE_OPENED = "vmapi's database file cannot be opened."

NO_SPACE_ERRORS = (errno.ENOSPC, errno.EDQUOT)

MAX_NAMED_TABLES = 5
"""The tables of another program that an error names."""

OPENED_FILES = "vmapi.opened_files"
"""The key of the state of a connection in `Connection.info`."""


@dataclass(frozen=True, slots=True)
class OpenedFiles:
    """The files of a database, as `stat` shows them."""

    #: Device and inode of the database, the WAL and the WAL index.
    ids: tuple[tuple[int, int], ...]
    #: Time of the last write to the database file, in nanoseconds, and its size in bytes.
    version: tuple[int, int]


class SqliteFiles:
    """The files of one database at a path. Thread-safe.

    A file with tables, but none of `tables`, is the file of another program.
    """

    def __init__(self, path: Path, tables: Collection[str]) -> None:
        self._path = path
        self._tables = tables
        self._id: tuple[int, int] | None = None
        #: The `id` of each DBAPI connection between `register` and `unregister`.
        self._open: set[int] = set()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the missing files, and hold the file lock until the block ends.

        Raises StoreUnavailable if the folder or a file cannot be made, for the file of another
        program before it is changed, or if another process holds the lock for longer than this
        thread waits for an answer.
        """
        self._check_owner()
        try:
            lock = self._prepare()
        except OSError as error:
            detail = NO_SPACE if error.errno in NO_SPACE_ERRORS else CANNOT_BE_OPENED
            raise StoreUnavailable(detail, reason=str(error)) from error
        try:
            acquire_file_lock(lock, f"{self._path}.lock", current_answer_timeout())
            yield
        finally:
            os.close(lock)

    def check_presence(self) -> None:
        """Check that the files are there, before another connection. Raises StoreUnavailable.

        Before the first connection, check that the file is no file of another program.
        SQLite deletes the WAL with the last connection. A WAL that is missing next to an open
        connection was deleted by another program.
        """
        if self._id is None:
            self._check_owner()
            return
        try:
            self._read()
        except StoreUnavailable:
            if self._open or not self._path.exists():
                raise

    def register(self, connection: Any, info: dict[str, Any]) -> None:
        """Remember the files that a new connection has opened. Raises StoreUnavailable."""
        # opens the WAL
        connection.execute("SELECT 1 FROM sqlite_master").close()
        opened = info[OPENED_FILES] = self._read()
        self._id = self._id or opened.ids[0]
        if opened.ids[0] != self._id:
            raise self._replaced_error()
        self._open.add(id(connection))

    def unregister(self, connection: Any) -> None:
        """Forget a connection, before it is closed."""
        self._open.discard(id(connection))

    def check(self, connection: Connection) -> None:
        """Check that the files are those of the connection, before a transaction begins.

        Raises StoreUnavailable if one was deleted, replaced or emptied, and the errors of
        SQLAlchemy if the database was overwritten.
        """
        opened: OpenedFiles = connection.info[OPENED_FILES]
        current = self._read()
        if current.ids != opened.ids or not current.version[1]:
            raise self._replaced_error()
        if current.version != opened.version:
            # a checkpoint, or another program: read the file instead of the cache
            connection.exec_driver_sql("PRAGMA shrink_memory")
            connection.exec_driver_sql("SELECT 1 FROM sqlite_master").close()
            connection.info[OPENED_FILES] = current

    def _check_owner(self) -> None:
        """Raise StoreUnavailable for a file that is no database, or one of another program."""
        if self._id is not None or not has_content(self._path):
            return
        try:
            names = _read_table_names(self._path)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
                raise StoreUnavailable(DAMAGED, reason=f"{self._path}: {error}") from error
            # the connection of vmapi fails with the reason
            return
        if names and not any(name in self._tables for name in names):
            listed = ", ".join(names[:MAX_NAMED_TABLES])
            raise StoreUnavailable(
                "vmapi's database file belongs to another program.",
                reason=f"{self._path} has the tables of another program ({listed}): name another "
                "file in VMAPI_DATABASE_URL",
            )

    def _read(self) -> OpenedFiles:
        try:
            main = os.stat(self._path)
            sides = [os.stat(f"{self._path}{suffix}") for suffix in WAL_SUFFIXES]
        except OSError as error:
            raise self._replaced_error(error) from error
        ids = tuple((file.st_dev, file.st_ino) for file in (main, *sides))
        return OpenedFiles(ids, (main.st_mtime_ns, main.st_size))

    def _replaced_error(self, error: OSError | None = None) -> StoreUnavailable:
        cause = f" ({error})" if error else ""
        return StoreUnavailable(
            "vmapi's database file was deleted or replaced.",
            reason=f"{self._path} was deleted, replaced or emptied while vmapi had it open{cause}: "
            "put the file back, or stop all processes and start them again",
        )

    def _prepare(self) -> int:
        """Create the missing files, make all of them private, and open the lock file."""
        self._path.parent.mkdir(PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
        if self._id is None:
            with suppress(FileExistsError):
                # SQLite gives the WAL the mode of the database
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL, PRIVATE_FILE_MODE))
        for suffix in ("", ".lock", *WAL_SUFFIXES):
            _make_private(f"{self._path}{suffix}")
        return os.open(f"{self._path}.lock", os.O_CREAT | os.O_RDWR, PRIVATE_FILE_MODE)


def file_path(url: URL) -> Path | None:
    """Return the absolute path of a SQLite file; None for memory and PostgreSQL."""
    if url.get_backend_name() != "sqlite":
        return None
    name = url.database or ":memory:"
    if ":memory:" in name or url.query.get("mode") == "memory":
        return None
    path = unquote(urlsplit(name).path) if name.startswith("file:") else name
    # the WAL is next to the file that a link leads to
    return Path(os.path.realpath(path))


def existing_file_url(url: URL, path: Path) -> URL:
    """Return the URL that opens a file for reads and writes, and does not create one.

    Source: https://www.sqlite.org/uri.html
    """
    query = {**url.query, "mode": "rw", "uri": "true"}
    return url.set(database=f"file:{quote(str(path))}", query=query)


def has_content(path: Path) -> bool:
    """Return whether a file exists and is not empty."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _read_table_names(path: Path) -> list[str]:
    """Return the names of the tables of a database, without those of its WAL only.

    An immutable file is read without locks, and no file is made next to it.
    Source: https://www.sqlite.org/uri.html. Raises sqlite3.DatabaseError.
    """
    query = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    uri = f"file:{quote(str(path))}?immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        return [name for (name,) in connection.execute(query)]


def _make_private(path: str) -> None:
    """Make a file private that all users may read or write.

    Access of a group is a choice of the operator and stays.
    """
    with suppress(FileNotFoundError):
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode) or not mode & stat.S_IRWXO:
            return
        try:
            os.chmod(path, PRIVATE_FILE_MODE)
        except OSError as error:
            log.warning("database file is open to all users", path=path, reason=str(error))
        else:
            log.warning("database file was open to all users, made private", path=path)
