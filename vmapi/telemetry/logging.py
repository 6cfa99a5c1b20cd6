"""Logs: one JSON object a line on stdout, or coloured lines on a terminal.

Whatever is logged through the standard library (gunicorn, the SDK) comes out in the same form.
Nothing a client sends can begin a line of its own or colour one.
"""

import logging
import logging.config
import sys
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

QUIET = ("keystoneauth", "openstack", "urllib3", "stevedore", "os_client_config", "dogpile")
"""Loggers that would tell tokens, passwords and user data below WARNING."""


def configure(level: str) -> None:
    """Send every log of this process to stdout, from `level` on."""
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
    logging.config.dictConfig(config(level, shared))


def config(level: str, shared: list[Processor]) -> dict[str, Any]:
    """Return the standard library's side, in the form of `logging.config.dictConfig`."""
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if sys.stdout.isatty():
        last += [_printable, structlog.dev.ConsoleRenderer(event_key="message")]
    else:
        last += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_json)]
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": shared,
        "processors": last,
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter},
        "handlers": {
            "stdout": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stdout",
                "formatter": "line",
            }
        },
        "root": {"level": level, "handlers": ["stdout"]},
        "loggers": {name: {"level": "WARNING"} for name in QUIET},
    }


def _printable(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {key: _escaped(value) for key, value in event.items()}


def _escaped(value: Any) -> Any:
    if isinstance(value, str) and not value.isprintable():
        return value.encode("unicode_escape").decode("ascii")
    return value


def _json(event: EventDict, **_: Any) -> str:
    return orjson.dumps(event, default=repr).decode()
