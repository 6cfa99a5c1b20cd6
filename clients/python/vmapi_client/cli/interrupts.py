"""Ctrl-C: it ends vmctl with its exit code and without a message, whatever runs."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

INTERRUPTED_EXIT_CODE = 130


class Interrupted(BaseException):
    """Ctrl-C during a command. Unlike for KeyboardInterrupt, click has no handler for it."""


def end_process(*_: Any) -> NoReturn:
    """End the process. Threads with changes in progress do not delay it."""
    os._exit(INTERRUPTED_EXIT_CODE)


def end_process_on_interrupt() -> None:
    """End the process at Ctrl-C, until `raising_interrupts`.

    An exception would end an import with a traceback. A process that ignores the signal, as in
    the background of a script, ignores it still.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end_process)


@contextmanager
def raising_interrupts() -> Iterator[None]:
    """Raise Interrupted at Ctrl-C, so that the terminal is restored; the next one ends at once."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.SIG_IGN:
        yield
        return
    hook, sys.unraisablehook = sys.unraisablehook, _end_ignored_interrupt
    try:
        signal.signal(signal.SIGINT, _raise_interrupted)
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        sys.unraisablehook = hook


def end_interrupted_line() -> None:
    """End the line of `^C` on a terminal."""
    if sys.stderr is not None and sys.stderr.isatty():
        print(file=sys.stderr)


def _raise_interrupted(*_: Any) -> NoReturn:
    # imported by now; at the start of the process it would delay the handler
    import logging

    signal.signal(signal.SIGINT, end_process)
    # requests of other threads fail when the command closes its client
    logging.disable()
    raise Interrupted


def _end_ignored_interrupt(error: Any) -> None:
    """End the process where Python would ignore the exception, such as in a finalizer."""
    if isinstance(error.exc_value, Interrupted):
        end_process()
    sys.__unraisablehook__(error)
