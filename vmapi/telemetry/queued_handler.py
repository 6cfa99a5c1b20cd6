"""A log handler that never waits for the reader of the log.

A full pipe without a reader, or a stopped terminal, blocks the thread that writes to it.
"""

import os
import threading
import time
import weakref
from collections import deque
from contextlib import suppress
from itertools import islice
from typing import TextIO

from vmapi.telemetry.line_writer import LineHandler, LineWriter, encode_line

MAX_QUEUED_LINES = 10_000
"""Lines that wait for the reader; further lines are dropped and counted."""

MAX_BATCH_LINES = 100
BATCH_INTERVAL_SECONDS = 0.01
"""The pause between two batches: waking the writer for each line would cost more than the line."""

FLUSH_TIMEOUT_SECONDS = 2.0
"""How long the end of the process waits for the reader."""


class QueuedStreamHandler(LineHandler):
    """A handler that formats a line in the calling thread, and writes it in its own.

    Lines stay in order. `flush` waits until all lines are written.
    """

    def __init__(self, stream: TextIO, max_lines: int = MAX_QUEUED_LINES) -> None:
        super().__init__()
        self._file_descriptor = stream.fileno()
        self._max_lines = max_lines
        self._reset()
        reset = weakref.WeakMethod(self._reset)
        os.register_at_fork(after_in_child=lambda: (method := reset()) and method())

    def _reset(self) -> None:
        """Begin without lines and without a thread, also in a forked process."""
        # reentrant: a signal handler may log while the main thread logs
        self._condition = threading.Condition(threading.RLock())
        self._lines: deque[bytes] = deque()
        self._dropped_lines = 0
        self._writer = LineWriter(self._file_descriptor, self.format)
        self._thread: threading.Thread | None = None
        self._is_idle = False

    def write_line(self, line: str) -> None:
        """Queue a rendered line, or drop and count it if the queue is full."""
        with self._condition:
            if len(self._lines) >= self._max_lines:
                self._dropped_lines += 1
                return
            self._lines.append(encode_line(line))
            if self._is_idle:
                self._condition.notify_all()
            elif self._thread is None or not self._thread.is_alive():
                self._start_thread()

    def flush(self) -> None:
        """Wait until all lines are written, but not longer than FLUSH_TIMEOUT_SECONDS."""
        with self._condition:
            if self._thread is not None:
                self._condition.wait_for(lambda: not self._lines, FLUSH_TIMEOUT_SECONDS)

    def close(self) -> None:
        """Write the queued lines, and remove the handler."""
        self.flush()
        super().close()

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._run, name="log", daemon=True)
        # without a free thread, the next line starts it
        with suppress(RuntimeError):
            thread.start()
            self._thread = thread

    def _run(self) -> None:
        while True:
            with self._condition:
                # lines may be dropped while the last batch is written
                self._is_idle = not self._lines and not self._dropped_lines
                if self._is_idle:
                    # wakes `flush`
                    self._condition.notify_all()
                    self._condition.wait_for(lambda: self._lines)
                    self._is_idle = False
                batch = list(islice(self._lines, MAX_BATCH_LINES))
                self._writer.dropped_lines += self._dropped_lines
                self._dropped_lines = 0
            self._writer.write(b"".join(batch))
            with self._condition:
                for _ in batch:
                    self._lines.popleft()
            time.sleep(BATCH_INTERVAL_SECONDS)
