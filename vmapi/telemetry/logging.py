"""Configure logging: one JSON object a line on stdout, or coloured lines on a terminal.

A command logs errors only, to stderr: its stdout may be a token, and nothing else may be mixed in.

Logs of the standard library (gunicorn, the SDK) take the same form. No text of a client can begin
a line or colour one, and no traceback shows the values of variables: they may be secrets.
"""

import json
import logging
import logging.config
import os
import stat
import sys
from collections.abc import Callable
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from vmapi.telemetry.tracing.tracer import TRACER

SENSITIVE_LOGGERS = (
    *("keystoneauth", "openstack", "urllib3", "stevedore", "os_client_config", "dogpile"),
)
"""Loggers that write tokens, passwords and user data below WARNING."""

FILE_HANDLER = "vmapi.telemetry.line_writer.FileLineHandler"
QUEUED_HANDLER = "vmapi.telemetry.queued_handler.QueuedStreamHandler"
STREAM_HANDLER = "vmapi.telemetry.logging.LineStreamHandler"

SHARED_PROCESSORS: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    TRACER.add_log_members,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.EventRenamer("message"),
)
"""Processors of the lines of vmapi, and of those of the standard library."""


def configure(level: str, *, serves: bool | None = None) -> None:
    """Send the logs of a server or worker to stdout, the errors of a command to stderr.

    A server or worker logs from `level` on. `serves` says that the process is one; the default
    follows from the environment that Flask sets for its commands.
    """
    if serves is None:
        serves = os.environ.get("FLASK_RUN_FROM_CLI") != "true"
    if not serves and level != "CRITICAL":
        level = "ERROR"
    stream = "stdout" if serves else "stderr"
    render: list[Processor] = [
        # renders the traceback as plain text, whether rich is installed or not
        structlog.processors.format_exc_info,
        *(_console_renderer() if getattr(sys, stream).isatty() else _json_renderer()),
    ]
    logging.config.dictConfig(_logging_config(level, render, stream))
    # a line of vmapi goes to the handler without a record: rendering it once costs least
    write_line = logging.getLogger().handlers[0].write_line  # type: ignore[attr-defined]
    structlog.configure(
        processors=[*SHARED_PROCESSORS, *render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=lambda *name: LineLogger(write_line, *name),
        cache_logger_on_first_use=False,
    )


class LineStreamHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes records and rendered lines to a stream."""

    def write_line(self, line: str) -> None:
        """Write a line; an error of the stream is reported as for a record."""
        self.acquire()
        try:
            self.stream.write(line + self.terminator)
            self.stream.flush()
        except (OSError, ValueError):
            # ValueError: the stream is closed
            self.handleError(logging.makeLogRecord({"msg": line}))
        finally:
            self.release()


class LineLogger:
    """Writes rendered lines; structlog calls the method of a level."""

    def __init__(self, write_line: Callable[[str], None], name: str = "vmapi") -> None:
        self.name = name
        self.debug = self.info = self.warning = self.error = self.critical = write_line


def _logging_config(level: str, render: list[Processor], stream: str) -> dict[str, Any]:
    """Return the configuration of the standard library, for `logging.config.dictConfig`."""
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": [structlog.stdlib.ExtraAdder(), *SHARED_PROCESSORS],
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
    }
    sensitive_level = level if level in ("ERROR", "CRITICAL") else "WARNING"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter},
        "handlers": {
            "stream": {
                "class": _handler_class(stream),
                "stream": f"ext://sys.{stream}",
                "formatter": "line",
            }
        },
        "root": {"level": level, "handlers": ["stream"]},
        "loggers": {name: {"level": sensitive_level} for name in SENSITIVE_LOGGERS},
    }


def _handler_class(stream: str) -> str:
    """Return the name of the handler class for a stream.

    A write to the pipe or the terminal of a server may wait for a reader; a disk may be full.
    """
    if stream != "stdout":
        return STREAM_HANDLER
    try:
        mode = os.fstat(sys.stdout.fileno()).st_mode
    except (OSError, ValueError):
        # a stream in memory
        return STREAM_HANDLER
    return FILE_HANDLER if stat.S_ISREG(mode) else QUEUED_HANDLER


def _json_renderer() -> list[Processor]:
    return [structlog.processors.JSONRenderer(_dump_json)]


def _console_renderer() -> list[Processor]:
    return [
        _escape_event,
        structlog.dev.ConsoleRenderer(
            event_key="message",
            # the default, where rich is installed, prints the values of local variables
            exception_formatter=structlog.dev.plain_traceback,
        ),
    ]


def _dump_json(event: EventDict, **_: Any) -> str:
    try:
        line = orjson.dumps(event, default=repr).decode()
    except orjson.JSONEncodeError:
        line = ""
    # json escapes the line separators beyond ASCII, and lone surrogates, which orjson refuses
    return (
        line if line and line.isascii() and line.isprintable() else json.dumps(event, default=repr)
    )


def _escape_event(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    escaped = {key: _escape(value) for key, value in event.items()}
    if isinstance(traceback := event.get("exception"), str):
        # indented: no line of a traceback looks like a log line
        escaped["exception"] = "\n".join(f"  {_escape(line)}" for line in traceback.split("\n"))
    return escaped


def _escape(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
