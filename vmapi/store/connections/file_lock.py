"""The file lock of a SQLite database: one process at a time creates or upgrades it.

Source: flock(2). The system releases the lock when the process ends.
"""

import fcntl
import os
import time

import structlog

from vmapi.errors import StoreUnavailable

log = structlog.get_logger("vmapi.store")

FILE_LOCK_POLL_INTERVAL = 0.05
"""Seconds between two attempts to lock a file that another process has locked."""

FILE_LOCK_WARNING_SECONDS = 3.0
"""Seconds of a wait for the file lock until the log says so: an upgrade takes less."""


def acquire_file_lock(file: int, path: str, timeout: float | None) -> None:
    """Lock an open file, within seconds. Raises StoreUnavailable if another process holds it."""
    started_at, is_logged = time.monotonic(), False
    while not _try_file_lock(file):
        waited_seconds = time.monotonic() - started_at
        if timeout is not None and waited_seconds >= timeout:
            raise locked_error(path)
        if waited_seconds >= FILE_LOCK_WARNING_SECONDS and not is_logged:
            is_logged = True
            log.warning("database file is locked by another process", path=path)
        time.sleep(FILE_LOCK_POLL_INTERVAL)


def locked_error(path: str) -> StoreUnavailable:
    """Return the error for a lock file that another process has locked."""
    return StoreUnavailable(
        "Another process has locked vmapi's database.",
        reason=f"{path} is locked: wait until the other process has created or upgraded the "
        f"database, or end that process if it hangs (fuser {path})",
    )


def is_locked(path: str) -> bool:
    """Return whether another process has locked a file that may be missing.

    Raises OSError if this user may not read it.
    """
    try:
        # a pipe must not block
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        # not exclusive: several commands may ask at once
        return not _try_file_lock(file, fcntl.LOCK_SH)
    finally:
        os.close(file)


def _try_file_lock(file: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Lock an open file; return False if another process holds the lock."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
