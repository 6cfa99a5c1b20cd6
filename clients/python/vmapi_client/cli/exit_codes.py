"""Exit codes by kind of error, and errors as one line."""

import re
import sys
from collections.abc import Iterable
from urllib.parse import quote

import click

from vmapi_client.cli.output.formats import format_value, print_line
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
    ResponseTimeout,
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
    ResponseTimeout: TIMED_OUT,
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

COMMAND_TERMS = (
    (re.compile(r"\bidempotency_key='([^']*)'"), r"--idempotency-key '\1'"),
    (re.compile(r"\bthe argument (url|context)\b"), r"--\1"),
    (re.compile(r"\bthe argument token\b"), "the input"),
    (re.compile(r"\bin ca_file\b"), "with --ca-file"),
    (re.compile(r"\ba smaller page_size or the last lines\b.*"), "with a filter or --lines."),
    (re.compile(r"\bGET \S*/vms lists\b"), "'vmctl list' lists"),
    (re.compile(r"\bGET \S*/(flavor|image|network|operation)s lists\b"), r"'vmctl \1 list' lists"),
)
"""Terms of the library and of the API, and those of the command line."""


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


def describe_error(error: VmapiError, subject: str = "") -> str:
    """Return one line with the accepted actions, in the words of the command line.

    The key of one of several VMs becomes that of the whole command: see `ChangeKeys`.
    """
    text = " ".join(str(error).split())
    if subject:
        text = text.replace(f" {quote(subject)}'", "'")
    text = use_command_terms(text)
    if isinstance(error, StateRefused) and error.allowed_actions:
        text += f" Accepted now: {', '.join(error.allowed_actions)}."
    return text


def use_command_terms(text: str) -> str:
    """Return a text of the library in the words of the command line."""
    for term, replacement in COMMAND_TERMS:
        text = term.sub(replacement, text)
    return text


def describe_usage(error: click.ClickException) -> str:
    """Return one line about wrong usage, with the command that prints the help."""
    text = " ".join(error.format_message().split())
    text += "" if text.endswith((".", "?")) else "."
    context = getattr(error, "ctx", None)
    return text if context is None else f"{text} See '{context.command_path} --help'."


def print_error(error: VmapiError | str, subject: str = "", advice: str = "") -> None:
    """Print one line to stderr, and mark the place of an invalid selector below it."""
    text = describe_error(error, subject) if isinstance(error, VmapiError) else error
    line = f"{subject}: {text}" if subject else text
    print_line(f"vmctl: {line} {advice}".rstrip())
    if isinstance(error, InvalidRequest) and error.rejected_text is not None:
        print(mark_place(error.rejected_text, error.offset or 0), file=sys.stderr)


def mark_place(text: str, offset: int) -> str:
    """Return a text as one line, and a caret below one of its characters."""
    from rich.cells import cell_len

    line = format_value(text)
    return f"  {line}\n  {' ' * cell_len(line[:offset])}^"
