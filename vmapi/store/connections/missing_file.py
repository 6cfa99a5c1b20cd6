"""A SQLite file that is missing: not created yet, deleted, emptied, or impossible to create."""

import os
from pathlib import Path

from vmapi.errors import StoreUnavailable
from vmapi.store.connections.file_lock import is_locked, locked_error
from vmapi.store.connections.sqlite_files import CANNOT_BE_OPENED, WAL_SUFFIXES, has_content

REMAINING_SUFFIXES = (*WAL_SUFFIXES, ".lock")
"""Files that vmapi makes next to the database, and that no command of vmapi deletes."""


def check_creatable(path: Path) -> None:
    """Check that the first server can create a missing file. Raises StoreUnavailable if not.

    A file next to it shows that it existed: servers that run refuse all changes. A lock shows that
    another process creates it.
    """
    _check_lock(f"{path}.lock")
    if has_content(path):
        # another process has created it by now
        return
    remaining = [f"{path.name}{suffix}" for suffix in REMAINING_SUFFIXES if _has(path, suffix)]
    if remaining:
        state = "is empty" if _has(path, "") else "does not exist"
        raise StoreUnavailable(
            "vmapi's database file was deleted.",
            reason=f"{path} {state}, but {', '.join(remaining)} next to it: stop all "
            "processes, then put the file or a backup back, or delete these files for an empty "
            "database",
        )
    if _has(path, ""):
        return
    # vmapi makes missing folders
    folder = next(parent for parent in path.parents if os.path.lexists(parent))
    if not folder.is_dir():
        problem = f"{folder} is no folder"
    elif not os.access(folder, os.W_OK | os.X_OK):
        problem = f"this user may not write into {folder}"
    else:
        return
    raise StoreUnavailable(
        CANNOT_BE_OPENED,
        reason=f"{path} does not exist and cannot be created: {problem}. Correct the folder, or "
        "the path in VMAPI_DATABASE_URL",
    )


def _check_lock(path: str) -> None:
    try:
        if is_locked(path):
            raise locked_error(path)
    except OSError as error:
        raise StoreUnavailable(CANNOT_BE_OPENED, reason=str(error)) from error


def _has(path: Path, suffix: str) -> bool:
    return os.path.lexists(f"{path}{suffix}")
