"""Log the texts that Python itself would write to stderr, over several lines.

Those are warnings, and the tracebacks of errors that no code of a thread handles.
"""

import sys
import threading
import warnings
from types import TracebackType

import structlog

log = structlog.get_logger("vmapi.process")


def log_uncaught_errors() -> None:
    """Write uncaught errors and Python's warnings of this process as log lines."""
    sys.excepthook = _log_error
    threading.excepthook = _log_thread_error
    sys.unraisablehook = _log_unraisable
    warnings.showwarning = _log_warning


def _log_error(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    log.critical("uncaught error ends the process", exc_info=(kind, error, traceback))


def _log_thread_error(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread else None
    error = (args.exc_type, args.exc_value, args.exc_traceback)
    log.error("uncaught error ends a thread", thread=name, exc_info=error)


def _log_unraisable(args: "sys.UnraisableHookArgs") -> None:
    error = (args.exc_type, args.exc_value, args.exc_traceback)
    # the object itself may be half destroyed
    log.error("error in a finalizer ignored", context=args.err_msg, exc_info=error)


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    *_: object,
    **__: object,
) -> None:
    reason = str(message).strip()
    place = f"{filename}:{lineno}"
    log.warning("Python warning", category=category.__name__, reason=reason, place=place)
