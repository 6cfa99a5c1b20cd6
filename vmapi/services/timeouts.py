"""Waiting for a look, but not for long."""

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future

from vmapi.errors import BackendTimeout


def run_with_timeout(seconds: float, func: Callable[[], object]) -> None:
    """Have a look taken, in a thread that goes on with it when the time is up.

    Raises BackendTimeout then, and before that what the look raises.
    """
    over: Future[None] = Future()
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(_run, func, over), daemon=True)
    thread.start()
    try:
        over.result(seconds)
    except TimeoutError:
        raise BackendTimeout("There is no answer yet.") from None


def _run(look: Callable[[], object], over: "Future[None]") -> None:
    try:
        look()
    except Exception as error:
        over.set_exception(error)
    else:
        over.set_result(None)
