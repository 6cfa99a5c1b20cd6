"""The state of one run of vmctl: options, the client, and the terminal."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vmapi_client.cli.output.formats import print_line
from vmapi_client.cli.parameters import HeaderText, Text, Timeout
from vmapi_client.core.deadline import Deadline
from vmapi_client.version import __version__

if TYPE_CHECKING:
    from vmapi_client.sync.client import Client

READ_TIMEOUT_SECONDS = 30.0
CHANGE_TIMEOUT_SECONDS = 600.0

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class App:
    """The options that all commands share, and the client that they make."""

    options: dict[str, Any] = field(default_factory=dict)
    deadline: Deadline | None = None
    """The deadline of all calls of the command, with `--timeout` or of a wait."""

    @property
    def timeout_seconds(self) -> float | None:
        """The seconds of `--timeout`."""
        timeout: timedelta | None = self.options.get("timeout")
        return None if timeout is None else timeout.total_seconds()

    def start_deadline(self, default: float | None = None) -> None:
        """Begin the time of all calls: `--timeout`, or the default, or no end.

        A question begins the time again: the user may take long to answer it.
        """
        seconds = self.timeout_seconds or default
        self.deadline = None if seconds is None else Deadline(seconds)

    def require_deadline(self, default: float) -> Deadline:
        """Return the deadline of all calls; without one, the default begins."""
        if self.deadline is None:
            self.start_deadline(default)
        assert self.deadline is not None
        return self.deadline

    def build_client(self, timeout: float = READ_TIMEOUT_SECONDS) -> "Client":
        """Build a client; `timeout` is the deadline of each call if all together have none."""
        from vmapi_client.sync.client import Client

        if self.deadline is None:
            self.start_deadline()

        report_repeats()
        return Client(
            self.options.get("url"),
            context=self.options.get("context"),
            ca_file=self.options.get("ca_file"),
            timeout=self.deadline or timeout,
            headers={"User-Agent": f"vmctl/{__version__}"},
        )


class StderrHandler(logging.Handler):
    """Prints messages to stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message."""
        print_line(f"vmctl: {record.getMessage()}")


def report_repeats() -> None:
    """Print to stderr why a request is sent again."""
    logger = logging.getLogger("vmapi_client")
    if not logger.handlers:
        logger.addHandler(StderrHandler())
        logger.setLevel(logging.INFO)
        logger.propagate = False


key_option: Callable[[F], F] = click.option(
    "--idempotency-key",
    "key",
    type=HeaderText(),
    help="Run the command again with the same key.",
)
"""The option of changes."""


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
        type=Text(),
        metavar="NAME",
        help="Context to use.",
        expose_value=False,
        callback=store_option,
        shell_complete=complete_context,
    ),
    click.Option(
        ["--url"],
        type=Text(),
        metavar="URL",
        help="Server to use, without a context.",
        expose_value=False,
        callback=store_option,
    ),
    click.Option(
        ["--ca-file"],
        type=Text(),
        metavar="FILE",
        help="Certificates to trust.",
        expose_value=False,
        callback=store_option,
    ),
    click.Option(
        ["--timeout"],
        type=Timeout(),
        help="Time of the whole command, with repeats "
        "(default: each read 30s, each change 10m, all waits together 10m, streams no end).",
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
