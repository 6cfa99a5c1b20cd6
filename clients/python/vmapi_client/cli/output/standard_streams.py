"""The standard streams: closed ones, and those without a reader."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class LossyFile(io.FileIO):
    """A file that drops what cannot be written: a message must not end a change."""

    def write(self, data: Any) -> int:
        """Write bytes."""
        try:
            return super().write(data)
        except OSError:
            return len(data)


def prepare_streams() -> None:
    """Replace closed streams, let stdout have all characters, and let stderr raise nothing."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115 - until the process ends
    if isinstance(sys.stdout, io.TextIOWrapper):
        # a locale without the characters of a name
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stderr is None:
        # print would write to stdout, which is for data
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    elif sys.__stderr__ is not None and sys.stderr is sys.__stderr__:
        sys.stderr = build_lossy_stream(sys.stderr.fileno(), sys.stderr.encoding)


def build_lossy_stream(descriptor: int, encoding: str) -> io.TextIOWrapper:
    """Return a stream of lines that drops what cannot be written."""
    file = io.BufferedWriter(LossyFile(descriptor, "w", closefd=False))
    return io.TextIOWrapper(file, encoding, "backslashreplace", line_buffering=True)


@contextmanager
def surviving_readers() -> Iterator[None]:
    """Drop the rest of the data if its reader has ended, as `head` does."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        drop_data()


def drop_data() -> None:
    """Let no write to stdout fail any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
