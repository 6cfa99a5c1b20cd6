"""Log lines for a pipe: written in order, and dropped with a count without a reader."""

import logging
import os
from collections.abc import Iterator

import pytest

from vmapi.telemetry.queued_handler import QueuedStreamHandler

PIPE_BYTES = 64 * 1024


class CountingFormatter(logging.Formatter):
    """Adds the number of dropped lines to their report."""

    def format(self, record: logging.LogRecord) -> str:
        count = getattr(record, "lines", None)
        return record.getMessage() + ("" if count is None else f" {count}")


@pytest.fixture
def pipe() -> Iterator[tuple[int, QueuedStreamHandler]]:
    """The read end of a pipe, and a handler that queues ten lines for its write end."""
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "w") as stream:
        handler = QueuedStreamHandler(stream, max_lines=10)
        handler.setFormatter(CountingFormatter())
        yield read_end, handler
        os.close(read_end)
        handler.close()


def emit(handler: QueuedStreamHandler, message: str) -> None:
    handler.handle(logging.LogRecord("test", logging.INFO, "", 0, message, None, None))


def read_all(read_end: int, handler: QueuedStreamHandler) -> list[str]:
    """Read until the last line is `end`."""
    received = b""
    while not received.endswith(b"end\n"):
        received += os.read(read_end, PIPE_BYTES)
    handler.flush()
    return received.decode().splitlines()


def test_lines_are_written_in_order(pipe: tuple[int, QueuedStreamHandler]) -> None:
    read_end, handler = pipe
    for number in range(100):
        emit(handler, str(number))
        if number % 5 == 0:
            handler.flush()
    emit(handler, "end")
    assert read_all(read_end, handler) == [*map(str, range(100)), "end"]


def test_lines_beyond_the_queue_are_dropped_and_counted(
    pipe: tuple[int, QueuedStreamHandler],
) -> None:
    read_end, handler = pipe
    emit(handler, "x" * 2 * PIPE_BYTES)
    for number in range(20):
        emit(handler, str(number))
    received = b""
    while b"dropped" not in received or not received.endswith(b"\n"):
        received += os.read(read_end, PIPE_BYTES)
    handler.flush()
    emit(handler, "end")
    lines = [*received.decode().splitlines(), *read_all(read_end, handler)]
    assert lines[:10] == ["x" * 2 * PIPE_BYTES, *map(str, range(9))]
    assert lines[-1] == "end"
    # one report of the lines dropped before the first write, one of those dropped during it
    reports = [line.partition("log lines dropped ")[2] for line in lines[10:-1]]
    assert len(reports) <= 2
    assert sum(map(int, reports)) == 11


def test_lines_dropped_during_the_last_write_are_reported() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "w") as stream:
        handler = QueuedStreamHandler(stream, max_lines=1)
        emit(handler, "x" * 2 * PIPE_BYTES)
        # the line is being written
        received = os.read(read_end, 1)
        emit(handler, "lost")
        while not received.endswith(b"dropped\n"):
            received += os.read(read_end, PIPE_BYTES)
        handler.close()
    os.close(read_end)
    assert received.decode().splitlines() == ["x" * 2 * PIPE_BYTES, "log lines dropped"]


def test_forked_process_writes_its_own_lines_only(pipe: tuple[int, QueuedStreamHandler]) -> None:
    read_end, handler = pipe
    emit(handler, "parent")
    handler.flush()
    child = os.fork()
    if child == 0:
        emit(handler, "end")
        handler.flush()
        os._exit(0)
    os.waitpid(child, 0)
    assert read_all(read_end, handler) == ["parent", "end"]
