"""The files of a SQLite database: private, and still those that the connections have opened.

SQLite does not notice that its file was deleted or replaced. It continues in the deleted file, and
the changes are lost with the last connection. It also serves pages from its cache after another
program has overwritten them. Therefore each transaction compares the files first.

No file of the database is opened here: closing one would release the locks that SQLite holds.
Source: https://www.sqlite.org/howtocorrupt.html
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import structlog
from sqlalchemy import URL, Connection

from vmapi.errors import StoreUnavailable

log = structlog.get_logger("vmapi.store")

PRIVATE_FOLDER_MODE = 0o700
PRIVATE_FILE_MODE = 0o600

WAL_SUFFIXES = ("-wal", "-shm")
"""The files next to the database while a connection is open."""

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
    """The files of one database at a path. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._id: tuple[int, int] | None = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the missing files, and hold the file lock until the block ends.

        Raises StoreUnavailable if the folder or a file cannot be made.
        """
        try:
            lock = self._prepare()
        except OSError as error:
            detail = "vmapi's database file cannot be opened."
            raise StoreUnavailable(detail, reason=str(error)) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def check_presence(self) -> None:
        """Check that the files are there, before another connection. Raises StoreUnavailable."""
        if self._id is not None:
            self._read()

    def register(self, connection: Any, info: dict[str, Any]) -> None:
        """Remember the files that a new connection has opened. Raises StoreUnavailable."""
        # opens the WAL
        connection.execute("SELECT 1 FROM sqlite_master").close()
        opened = info[OPENED_FILES] = self._read()
        self._id = self._id or opened.ids[0]
        if opened.ids[0] != self._id:
            raise self._replaced_error()

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
