"""The claim of one server on a SQLite file, for a cloud in the memory of its process.

Two servers would have two clouds. Each would report the VMs of the other one as deleted. A claim is
a lock that the processes of a server inherit. The system releases it when the last of them ends.
"""

import fcntl
import os
import threading
from pathlib import Path

from sqlalchemy import make_url

from vmapi.errors import StoreUnavailable
from vmapi.store.connections.sqlite_files import (
    PRIVATE_FILE_MODE,
    PRIVATE_FOLDER_MODE,
    file_path,
)

CLAIM_SUFFIX = ".server"
"""The file next to the database that a server locks. It stays: only its lock counts."""

_claimed: dict[Path, int] = {}
"""The open files of the claims of this process, by the path of the database."""

_claiming = threading.Lock()


def claim(url: str) -> bool:
    """Claim the SQLite file of a URL for this process and its later children; safe to repeat.

    Returns False while the folder cannot be used: the first transaction fails with the reason.
    Raises StoreUnavailable if another server has claimed the file. Other databases are not claimed.
    """
    path = file_path(make_url(url))
    if path is None:
        return True
    with _claiming:
        if path not in _claimed:
            try:
                _claimed[path] = _lock(path)
            except BlockingIOError as error:
                raise _claimed_error(path) from error
            except OSError:
                return False
    return True


def _lock(path: Path) -> int:
    """Lock the file of a claim, and return it. Raises OSError."""
    path.parent.mkdir(PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
    file = os.open(f"{path}{CLAIM_SUFFIX}", os.O_CREAT | os.O_RDWR, PRIVATE_FILE_MODE)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise
    return file


def _claimed_error(path: Path) -> StoreUnavailable:
    return StoreUnavailable(
        "Another server uses vmapi's database, and each would have its own cloud in memory.",
        reason=f"another server uses {path}, and each would have its own cloud in memory: "
        "stop it, or name another file in VMAPI_DATABASE_URL",
    )
