"""Start delegated operations in the background, each with the token of its caller.

The engine cannot start them: a token is only in the process of the request, and only until the
first step is dispatched.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import structlog

from vmapi.domain.operation import NewOperation
from vmapi.errors import VmapiError
from vmapi.telemetry.background_context import continuing

log = structlog.get_logger("vmapi.operations")

DELEGATED_START_THREADS = 4
"""Concurrent calls to the cloud, in addition to those of requests and engine."""


class DelegatedStarter:
    """Calls `start` for a few new operations at a time."""

    def __init__(self, start: Callable[[NewOperation], object]) -> None:
        self._start = start
        self._pool = ThreadPoolExecutor(
            DELEGATED_START_THREADS, thread_name_prefix="delegated-start"
        )

    def submit(self, new: NewOperation) -> None:
        """Queue a new operation. After `stop` it stays unsent, and another process fails it."""
        # RuntimeError: stopped, or no thread can be started; the next submit tries again
        with suppress(RuntimeError):
            self._pool.submit(self._start_operation, new)

    def stop(self) -> None:
        """Wait for the calls in progress and drop the queue."""
        self._pool.shutdown(cancel_futures=True)

    def _start_operation(self, new: NewOperation) -> None:
        operation = new.operation
        with continuing(f"start {operation.action}", operation):
            try:
                self._start(new)
            except VmapiError as error:
                # the operation has the same error, or stays unfinished
                log.info("delegated start failed", operation_id=operation.id, code=error.code)
            except Exception:
                log.exception("delegated start failed", operation_id=operation.id)
