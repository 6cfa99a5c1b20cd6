"""Tables: aligned columns in a pipe, and columns that fit the width on a terminal."""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from vmapi_client.cli.output.formats import find_member, format_value
from vmapi_client.cli.output.members import describe_refusal, refuse_path
from vmapi_client.models.model import Model

if TYPE_CHECKING:
    from rich.table import Table

STATUS_STYLES = {
    "RUNNING": "green",
    "ERROR": "bold red",
    "BUILDING": "yellow",
    "PAUSED": "cyan",
    "DELETED": "dim",
    "succeeded": "green",
    "failed": "bold red",
    "running": "yellow",
}
ABSENT = "-"
SEPARATOR = "  "
LEAST_COLUMN_WIDTH = 6


@dataclass(frozen=True)
class Column:
    """A column with the member that it shows. `wide` columns need `-o wide`."""

    title: str
    path: str
    wide: bool = False
    shrinks: bool = False
    """Whether a narrow terminal cuts the end of the cells."""
    convert: Callable[[Any], Any] = lambda value: value

    def text(self, document: Any) -> str:
        """Return the cell of a record."""
        value = self.convert(find_member(document, self.path))
        return format_value(value, ABSENT) or ABSENT


@dataclass(frozen=True)
class View:
    """The columns of one kind of record, and the member that names a record."""

    columns: tuple[Column, ...]
    key: str = "name"
    model: type[Model] | None = None
    """The class of the records; None for records with no other members than the columns."""

    def refuse_member(self, path: str) -> str | None:
        """Return why the records have no member with a dotted path; None if they have it."""
        if self.model is not None:
            return refuse_path(path, self.model)
        paths = [column.path for column in self.columns]
        return None if path in paths else describe_refusal(path, paths)

    def visible_columns(self, *, wide: bool) -> list[Column]:
        """Return the columns of a table."""
        return [column for column in self.columns if wide or not column.wide]


def format_age(value: Any) -> str | None:
    """Return the time since a time as `5m` or `3d`."""
    if value is None:
        return None
    begin = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    seconds = max(0, int((datetime.now(timezone.utc) - begin).total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def is_terminal() -> bool:
    """Return whether stdout is a terminal that can show a table."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def print_table(
    columns: Sequence[Column], documents: Iterable[Any], *, fit_width: bool = True
) -> None:
    """Print a table to stdout; on a terminal it fits the width, unless that is too narrow."""
    rows = [[column.text(document) for column in columns] for document in documents]
    widths = measure_columns(columns, rows)
    if fit_width and is_terminal():
        from rich.console import Console

        console = Console(highlight=False)
        if table_width(fit_columns(columns, widths, console.width)) <= console.width:
            console.print(build_rich_table(columns, rows, console.width))
            return
    for cells in ([column.title for column in columns], *rows):
        line = SEPARATOR.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        print(line.rstrip())


def measure_columns(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the width of each column."""
    titles = [column.title for column in columns]
    return [max(map(len, cells)) for cells in zip(titles, *rows, strict=True)]


def table_width(widths: Sequence[int]) -> int:
    """Return the width of a table with columns of these widths."""
    return sum(widths) + len(SEPARATOR) * (len(widths) - 1)


def fit_columns(columns: Sequence[Column], widths: Sequence[int], terminal_width: int) -> list[int]:
    """Shrink the widest columns until a table fits: first those that may shrink, then all."""
    fitted = list(widths)
    for shrinkable in ([column.shrinks for column in columns], [True] * len(columns)):
        while table_width(fitted) > terminal_width:
            width, index = max(
                ((fitted[i], i) for i, may in enumerate(shrinkable) if may), default=(0, 0)
            )
            if width <= LEAST_COLUMN_WIDTH:
                break
            fitted[index] -= 1
    return fitted


def build_rich_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], terminal_width: int
) -> "Table":
    """Build a table for a terminal."""
    from rich.table import Table
    from rich.text import Text

    style = "" if os.environ.get("NO_COLOR") else "bold"
    widths = fit_columns(columns, measure_columns(columns, rows), terminal_width)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=style)
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column.title, no_wrap=True, overflow="ellipsis", width=width)
    for row in rows:
        table.add_row(*(Text(cell, style=STATUS_STYLES.get(cell, "")) for cell in row))
    return table
