"""Exit codes by kind of error, and errors as one line."""

import re
import sys
from collections.abc import Iterable

import click

from vmapi_client.errors import (
    AccessRefused,
    BackendTimeout,
    ConfigurationError,
    Conflict,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    NotReachable,
    NotVmapi,
    OperationTimeout,
    StateRefused,
    Unavailable,
    VmapiError,
)

SUCCESS = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
REFUSED_BY_STATE = 4
NOT_ALLOWED = 5
NOT_REACHABLE = 6
TIMED_OUT = 7
PARTLY = 8

EXIT_CODES: dict[type[VmapiError], int] = {
    ConfigurationError: USAGE,
    InvalidRequest: USAGE,
    NotFound: NOT_FOUND,
    Conflict: REFUSED_BY_STATE,
    AccessRefused: NOT_ALLOWED,
    NotReachable: NOT_REACHABLE,
    NotVmapi: NOT_REACHABLE,
    Unavailable: NOT_REACHABLE,
    DeadlineExceeded: TIMED_OUT,
    BackendTimeout: TIMED_OUT,
    OperationTimeout: TIMED_OUT,
}

MEANINGS = {
    SUCCESS: "success",
    FAILED: "the cloud or the server failed",
    USAGE: "wrong usage, configuration or input",
    NOT_FOUND: "not found",
    REFUSED_BY_STATE: "refused by the state of a VM",
    NOT_ALLOWED: "not allowed: token, role or quota",
    NOT_REACHABLE: "not reachable or temporarily unavailable",
    TIMED_OUT: "timed out",
    PARTLY: "done for some VMs, not for others",
}


def exit_code_of(error: VmapiError) -> int:
    """Return the exit code of an error."""
    classes = type(error).__mro__
    return next((EXIT_CODES[cls] for cls in classes if cls in EXIT_CODES), FAILED)


def combine_exit_codes(codes: Iterable[int]) -> int:
    """Return the exit code of several results: `PARTLY` if some succeeded and others did not."""
    distinct = set(codes) or {SUCCESS}
    if len(distinct) == 1:
        return distinct.pop()
    return PARTLY if SUCCESS in distinct else FAILED


def describe_error(error: VmapiError) -> str:
    """Return one line with the accepted actions, in the words of the command line."""
    text = " ".join(str(error).split())
    text = re.sub(r"idempotency_key='([^']*)'", r"--idempotency-key '\1'", text)
    if isinstance(error, StateRefused) and error.allowed_actions:
        text += f" Accepted now: {', '.join(error.allowed_actions)}."
    return text


def describe_usage(error: click.ClickException) -> str:
    """Return one line about wrong usage, with the command that prints the help."""
    text = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    return text if context is None else f"{text} See '{context.command_path} --help'."


def print_error(error: VmapiError | str, subject: str = "") -> None:
    """Print one line to stderr."""
    text = describe_error(error) if isinstance(error, VmapiError) else error
    print(f"vmctl: {subject}{': ' if subject else ''}{text}", file=sys.stderr)
