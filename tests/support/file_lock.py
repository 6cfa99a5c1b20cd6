"""The file lock of a SQLite database, as another process holds it."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def lock_of_another_process(path: Path) -> Iterator[None]:
    """Hold the lock of a database by another open file, as another process does."""
    with Path(f"{path}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
