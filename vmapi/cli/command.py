"""The form of all commands: text arguments in UTF-8, and output that reaches its reader."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from vmapi.cli.output import JSON_OPTION, has_printed_json, print_json

REFUSED_START_STATUS = 3
"""The exit status of a start that is refused; it stops gunicorn from restarting a worker."""


class OperatorCommand(click.Command):
    """A command of an operator, which reports an error of the system in one line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        A closed stdout is refused first: the output of a change, as a token, would be lost.
        Raises BadParameter for arguments that are not in UTF-8, ClickException for an OSError.
        """
        if sys.stdout is None:
            raise click.ClickException("stdout is closed")
        for parameter in self.params:
            _check_text(ctx, parameter)
        with _reporting_as_json(ctx), _reporting_system_errors():
            return super().invoke(ctx)


class OperatorGroup(click.Group):
    """A group of commands of an operator."""

    command_class = OperatorCommand


def refuse_start(reason: str) -> NoReturn:
    """Print why vmapi does not start, and exit. `--json` gets a document here, too."""
    # click has not read the options of the command yet
    if JSON_OPTION in sys.argv:
        print_json({"error": reason})
    print(f"vmapi does not start: {reason}", file=sys.stderr)
    sys.exit(REFUSED_START_STATUS)


@contextmanager
def _reporting_as_json(ctx: click.Context) -> Iterator[None]:
    """Print a document with the error of a command with `--json` that has printed none."""
    try:
        yield
    except click.ClickException as error:
        if ctx.params.get("is_json") and not has_printed_json():
            print_json({"error": error.message})
        raise


@contextmanager
def _reporting_system_errors() -> Iterator[None]:
    """Raise ClickException for an OSError."""
    try:
        yield
    except OSError as error:
        # the reader of a pipe has enough: click exits without a message
        if error.errno == errno.EPIPE:
            raise
        reason = error.strerror or str(error)
        place = error.filename or "the output cannot be written"
        raise click.ClickException(f"{place}: {reason}") from None


def _check_text(ctx: click.Context, parameter: click.Parameter) -> None:
    """Raise BadParameter if the text of a parameter has bytes that are not UTF-8.

    Python reads them as lone surrogates (PEP 383), which no database and no JSON takes.
    """
    try:
        str(ctx.params.get(parameter.name or "")).encode()
    except UnicodeEncodeError:
        raise click.BadParameter("not text in UTF-8", ctx, parameter) from None
