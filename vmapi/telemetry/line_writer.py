"""Write whole log lines to a file descriptor, and count those for which there is no room.

A full disk takes a part of a line. The next write completes it: a reader of the log gets no line
that is two lines.
"""

import logging
import os
import select
import threading
from collections.abc import Callable
from typing import TextIO

DROPPED_MESSAGE = "log lines dropped"


class LineWriter:
    """Writes lines to a file descriptor. `render` formats the record of the dropped lines.

    It is not thread-safe: the handler holds a lock.
    """

    def __init__(self, file_descriptor: int, render: Callable[[logging.LogRecord], str]) -> None:
        self._file_descriptor = file_descriptor
        self._render = render
        self._rest = b""
        self.dropped_lines = 0

    def write(self, lines: bytes) -> None:
        """Write lines; drop and count those that the file does not take."""
        if self._write_with_rest(lines) and self.dropped_lines:
            report, self.dropped_lines = self._describe_dropped(), 0
            self._write_with_rest(report)

    def _write_with_rest(self, lines: bytes) -> bool:
        """Write the rest of a line and these lines; return whether all are written."""
        data = self._rest + lines
        unwritten = memoryview(data)
        try:
            while unwritten:
                unwritten = unwritten[self._write_some(unwritten) :]
        except OSError:
            self._drop(data, len(data) - len(unwritten))
            return False
        self._rest = b""
        return True

    def _write_some(self, data: memoryview) -> int:
        while True:
            try:
                return os.write(self._file_descriptor, data)
            except BlockingIOError:
                # another process made the pipe non-blocking
                poll = select.poll()
                poll.register(self._file_descriptor, select.POLLOUT)
                poll.poll()

    def _drop(self, data: bytes, written_bytes: int) -> None:
        """Keep the rest of a line that has begun, and count the lines after it."""
        if written_bytes == 0:
            # the first line is the rest of an older one, or has not begun
            written_bytes = len(self._rest)
            self._rest = data[:written_bytes]
        elif data[written_bytes - 1 : written_bytes] == b"\n":
            self._rest = b""
        else:
            end = data.index(b"\n", written_bytes) + 1
            self._rest, written_bytes = data[written_bytes:end], end
        self.dropped_lines += data.count(b"\n", written_bytes)

    def _describe_dropped(self) -> bytes:
        record = logging.LogRecord(
            "vmapi.telemetry", logging.WARNING, __file__, 0, DROPPED_MESSAGE, None, None
        )
        record.lines = self.dropped_lines
        return encode_line(self._render(record))


def encode_line(line: str) -> bytes:
    """Return a line as bytes, with its end."""
    return f"{line}\n".encode(errors="backslashreplace")


class LineHandler(logging.Handler):
    """A handler of records and of rendered lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as a line."""
        try:
            line = self.format(record)
        except Exception:
            self.handleError(record)
            return
        self.write_line(line)

    def write_line(self, line: str) -> None:
        """Write a rendered line."""
        raise NotImplementedError


class FileLineHandler(LineHandler):
    """Writes records and rendered lines to a regular file.

    Each line is in the file when the call returns; those without room are dropped and counted.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._writer = LineWriter(stream.fileno(), self.format)
        # reentrant: a signal handler may log while the main thread logs
        self._write_lock = threading.RLock()

    def write_line(self, line: str) -> None:
        """Write a rendered line."""
        with self._write_lock:
            self._writer.write(encode_line(line))
