"""Bound the time that a caller waits for a function, and the wait of a throttled caller.

The callers define the timeouts: `READ_REFRESH_TIMEOUT` in `vmapi.services.inventory.reader` for the
read of a VM or a list, `BACKEND_CHECK_TIMEOUT` in `vmapi.services.health` for a readiness check.
"""

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future

from vmapi.concurrency.nonblocking import raise_if_nonblocking
from vmapi.errors import BackendTimeout, BackendUnavailable, VmapiError


def run_with_timeout(seconds: float, func: Callable[[], object]) -> None:
    """Run a function in a thread and wait for it. After the timeout the thread runs on.

    Raises BackendTimeout after the timeout or without a free thread, and the exceptions of the
    function.
    """
    raise_if_nonblocking()
    # not with an executor of concurrent.futures: that joins its threads when the process exits
    future: Future[None] = Future()
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(_run, func, future), daemon=True)
    try:
        thread.start()
    except RuntimeError:
        raise BackendTimeout("No thread is free to wait for a response.") from None
    try:
        future.result(seconds)
    except TimeoutError:
        raise BackendTimeout("There is no response yet.") from None


def throttled_seconds(error: VmapiError) -> int:
    """Return the seconds without requests that a throttled cloud asks for; 0 for other errors."""
    is_throttled = isinstance(error, BackendUnavailable) and error.is_throttled
    return (error.retry_after or 0) if is_throttled else 0


def _run(func: Callable[[], object], future: "Future[None]") -> None:
    try:
        func()
    except Exception as error:
        future.set_exception(error)
    else:
        future.set_result(None)
