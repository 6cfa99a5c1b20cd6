"""A system that refuses new threads, as one with a limit of processes does."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch


@contextmanager
def refusing_threads(prefix: str = "") -> Iterator[None]:
    """Refuse to start threads of which the name has a prefix."""
    start = threading.Thread.start

    def start_or_refuse(thread: threading.Thread) -> None:
        if thread.name.startswith(prefix):
            raise RuntimeError("can't start new thread")
        start(thread)

    with patch.object(threading.Thread, "start", start_or_refuse):
        yield
