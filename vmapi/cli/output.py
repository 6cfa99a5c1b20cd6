"""The output of the commands: tables for terminals, JSON for scripts, progress on stderr.

Only data is written to stdout. Texts of the cloud and of clients can neither begin a line nor
control the terminal.
"""

import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
import orjson

COLUMN_GAP = "  "
PRINTED_JSON = "vmapi.printed_json"
"""The key of the mark in the context of a command."""
PROGRESS_INTERVAL = 1.0
"""Seconds between two updates of the progress on a terminal."""

JSON_OPTION = "--json"

as_json = click.option(JSON_OPTION, "is_json", is_flag=True, help="print one JSON document")
"""The option of each command that prints data."""


def print_json(document: Any) -> None:
    """Print a JSON document."""
    if context := click.get_current_context(silent=True):
        context.meta[PRINTED_JSON] = True
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))


def has_printed_json() -> bool:
    """Return whether the present command has printed a JSON document."""
    return PRINTED_JSON in click.get_current_context().meta


def print_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print aligned columns. On a terminal, the last column is cut to its width."""
    texts = [headers, *([format_cell(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in texts:
        padded = [text.ljust(cell_width) for text, cell_width in zip(row, widths, strict=True)]
        click.echo(COLUMN_GAP.join(padded).rstrip()[:width])


def print_fields(fields: Mapping[str, object], width: int = 0) -> None:
    """Print a name and a value a line; the names occupy at least `width` characters."""
    width = max(width, *map(len, fields))
    for name, value in fields.items():
        click.echo(f"{name:<{width}}{COLUMN_GAP}{format_cell(value)}")


def format_cell(value: object) -> str:
    """Return a value as one line of printable characters; `-` for None and an empty text."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def format_duration(seconds: float | None) -> str | None:
    """Return a duration with its two largest units, as `3h 5m`."""
    if seconds is None:
        return None
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{int(seconds)}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}m" if hours < 24 else f"{hours // 24}d {hours % 24}h"


def format_size(size_bytes: int) -> str:
    """Return a size in the unit that fits, as `1.2 MB`."""
    size = float(size_bytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.1f} {unit}" if unit != "bytes" else f"{size_bytes} bytes"
        size /= 1000
    return f"{size:.1f} TB"


def print_note(text: str) -> None:
    """Print a line for the operator to stderr."""
    click.echo(text, err=True)


@contextmanager
def showing_progress(subject: str, describe: Callable[[], str] = str) -> Iterator[None]:
    """Show on stderr that a long task runs; on a terminal with its duration.

    `describe` returns the progress of the task.
    """
    if not sys.stderr.isatty():
        print_note(f"{subject} …")
        yield
        return
    ended = threading.Event()

    def update() -> None:
        seconds = 0
        while True:
            click.echo(f"\r\x1b[K{subject} … {seconds}s {describe()}".rstrip(), err=True, nl=False)
            if ended.wait(PROGRESS_INTERVAL):
                break
            seconds += 1
        click.echo("\r\x1b[K", err=True, nl=False)

    thread = threading.Thread(target=update, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
