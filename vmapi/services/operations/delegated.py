"""First calls that nobody waits for, each with the credential of who has asked for the change.

The engine cannot make them: a credential is only in the process that the request came to, and only
for as long as this takes.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import structlog

from vmapi.domain.identity import CallerToken
from vmapi.domain.operation import Operation
from vmapi.errors import VmapiError

log = structlog.get_logger("vmapi.operations")

DELEGATED_START_THREADS = 4
"""How many are made at a time: what the cloud sees of us beside the requests and the engine."""


class DelegatedStarter:
    """Makes them a few at a time; `start` makes one."""

    def __init__(self, start: Callable[[Operation, CallerToken], object]) -> None:
        self._start = start
        self._pool = ThreadPoolExecutor(DELEGATED_START_THREADS, thread_name_prefix="first-calls")

    def submit(self, operation: Operation, caller_token: CallerToken) -> None:
        """Have a new operation started soon; one that comes after `stop` is left as those are."""
        # stopped, or no thread to be had, which leaves it to the next that can be started
        with suppress(RuntimeError):
            self._pool.submit(self._start_operation, operation, caller_token)

    def stop(self) -> None:
        """Finish those that are being made; whoever takes the others over ends them, unsent."""
        self._pool.shutdown(cancel_futures=True)

    def _start_operation(self, operation: Operation, caller_token: CallerToken) -> None:
        with structlog.contextvars.bound_contextvars(
            request_id=operation.request_id, user=operation.requested_by
        ):
            try:
                self._start(operation, caller_token)
            except VmapiError as error:
                # the operation says so too, or goes on
                log.info("a first call failed", operation_id=operation.id, code=error.code)
            except Exception:
                log.exception("a first call could not be made", operation_id=operation.id)
