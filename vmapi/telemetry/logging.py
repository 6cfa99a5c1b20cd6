"""Logs: one JSON object a line on stdout, or coloured lines on a terminal.

Under a command only errors are told, on stderr: what it prints may be a token, and nothing else
may be there.

Whatever is logged through the standard library (gunicorn, the SDK) comes out in the same form.
Nothing a client sends can begin a line of its own or colour one.
"""

import json
import logging
import logging.config
import os
import sys
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

SENSITIVE_LOGGERS = (
    "keystoneauth",
    "openstack",
    "urllib3",
    "stevedore",
    "os_client_config",
    "dogpile",
)
"""Loggers that would tell tokens, passwords and user data below WARNING."""


def configure(level: str, *, serves: bool | None = None) -> None:
    """Send every log of this process to stdout, from `level` on; errors to stderr under a command.

    A process `serves` unless Flask says that it was started for a command.
    """
    if serves is None:
        serves = os.environ.get("FLASK_RUN_FROM_CLI") != "true"
    if not serves and level != "CRITICAL":
        level = "ERROR"
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.EventRenamer("message"),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    logging.config.dictConfig(logging_config(level, shared, "stdout" if serves else "stderr"))


def logging_config(level: str, shared: list[Processor], stream: str) -> dict[str, Any]:
    """Return the standard library's side, in the form of `logging.config.dictConfig`."""
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": shared,
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            *(_console_renderer() if getattr(sys, stream).isatty() else _json_renderer()),
        ],
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter},
        "handlers": {
            "stream": {
                "class": "logging.StreamHandler",
                "stream": f"ext://sys.{stream}",
                "formatter": "line",
            }
        },
        "root": {"level": level, "handlers": ["stream"]},
        "loggers": {name: {"level": "WARNING"} for name in SENSITIVE_LOGGERS},
    }


def _json_renderer() -> list[Processor]:
    return [structlog.processors.JSONRenderer(_dump_json)]


def _console_renderer() -> list[Processor]:
    plain = structlog.dev.plain_traceback
    return [
        _escape_event,
        structlog.dev.ConsoleRenderer(event_key="message", exception_formatter=plain),
    ]


def _dump_json(event: EventDict, **_: Any) -> str:
    try:
        line = orjson.dumps(event, default=repr).decode()
    except orjson.JSONEncodeError:
        line = ""
    # beyond ASCII there are other line ends; half a surrogate pair is beyond orjson
    return (
        line if line and line.isascii() and line.isprintable() else json.dumps(event, default=repr)
    )


def _escape_event(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    shown = {key: _escape(value) for key, value in event.items()}
    if isinstance(trace := event.get("exception"), str):
        # no line of it begins as a line of the log does
        shown["exception"] = "\n".join(f"  {_escape(line)}" for line in trace.split("\n"))
    return shown


def _escape(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
