"""The state of one run of vmctl: options, the client, and the terminal."""

import logging
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vmapi_client.version import __version__

if TYPE_CHECKING:
    from vmapi_client.sync.client import Client

READ_TIMEOUT_SECONDS = 30.0
CHANGE_TIMEOUT_SECONDS = 600.0
DURATION_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

F = TypeVar("F", bound=Callable[..., Any])


class Duration(click.ParamType[timedelta]):
    """A duration such as 90, 30s, 5m, 2h, 1d."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Parse a duration. A number without a unit is in seconds."""
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", str(value))
        if match is None:
            self.fail(f"{value!r} is no duration: use 30s, 5m, 2h, 1d or 1w", param, ctx)
        return timedelta(seconds=float(match[1]) * DURATION_UNITS[match[2] or "s"])


@dataclass
class App:
    """The options that all commands share, and the client that they make."""

    options: dict[str, Any] = field(default_factory=dict)

    def timeout_or(self, default: float) -> float:
        """Return the seconds of `--timeout`."""
        timeout: timedelta | None = self.options.get("timeout")
        return default if timeout is None else timeout.total_seconds()

    def build_client(self, timeout: float = READ_TIMEOUT_SECONDS) -> "Client":
        """Build a client; `timeout` is the deadline of its calls without `--timeout`."""
        from vmapi_client.sync.client import Client

        report_repeats()
        return Client(
            self.options.get("url"),
            context=self.options.get("context"),
            ca_file=self.options.get("ca_file"),
            timeout=self.timeout_or(timeout),
            headers={"User-Agent": f"vmctl/{__version__}"},
        )


class StderrHandler(logging.Handler):
    """Prints messages to stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message."""
        print(f"vmctl: {record.getMessage()}", file=sys.stderr)


def report_repeats() -> None:
    """Print to stderr why a request is sent again."""
    logger = logging.getLogger("vmapi_client")
    if not logger.handlers:
        logger.addHandler(StderrHandler())
        logger.setLevel(logging.INFO)
        logger.propagate = False


def store_option(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Store a global option, wherever it stands in the command."""
    if value is not None and param.name is not None:
        ctx.ensure_object(App).options[param.name] = value


def complete_context(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of contexts."""
    from vmapi_client.contexts import ContextStore
    from vmapi_client.errors import VmapiError

    try:
        _, contexts = ContextStore.from_environment().load()
    except VmapiError:
        return []
    return [name for name in contexts if name.startswith(incomplete)]


GLOBAL_OPTIONS: list[click.Parameter] = [
    click.Option(
        ["--context"],
        metavar="NAME",
        help="Context to use.",
        expose_value=False,
        callback=store_option,
        shell_complete=complete_context,
    ),
    click.Option(
        ["--url"],
        metavar="URL",
        help="Server to use, without a context.",
        expose_value=False,
        callback=store_option,
    ),
    click.Option(
        ["--ca-file"],
        metavar="FILE",
        help="Certificates to trust.",
        expose_value=False,
        callback=store_option,
    ),
    click.Option(
        ["--timeout"],
        type=Duration(),
        help="Time for each call, repeats included (default: reads 30s, changes 10m).",
        expose_value=False,
        callback=store_option,
    ),
]


def command(name: str, *, examples: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Declare a command with the global options and with examples in its help."""
    lines = "\n".join(f"  {line.strip()}" for line in examples.strip().splitlines())

    def build(function: Callable[..., Any]) -> click.Command:
        built = click.command(name, epilog=f"\b\nExamples:\n{lines}\n")(function)
        built.params.extend(GLOBAL_OPTIONS)
        return built

    return build
