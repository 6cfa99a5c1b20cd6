"""Write the results as a Markdown page."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.aims import Result, Row, Table, render_value

INTRODUCTION = """# Results

One run of `make bench` wrote this page; [the benchmarks](README.md) say how to read it.
CPU time is that of the server's processes, user and system, for one request.
"""


def write_report(path: Path, facts: Mapping[str, str], results: Sequence[Result]) -> None:
    """Write the page."""
    rows = [result for result in results if isinstance(result, Row)]
    tables = [result for result in results if isinstance(result, Table)]
    sections = [
        INTRODUCTION,
        render_table(("", ""), facts.items()),
        "## Aims\n",
        render_table(("aim", "value", "result", "limit", "held", "detail"), map(render_row, rows)),
        *(f"## {table.title}\n\n{render_table(table.columns, table.lines)}" for table in tables),
    ]
    path.write_text("\n".join(sections), encoding="utf-8")


def render_row(row: Row) -> tuple[str, ...]:
    """Return the cells of a row."""
    limit = row.limit.render(row.unit) if row.limit else ""
    value = render_value(row.value, row.unit)
    return row.aim, row.subject, value, limit, row.outcome, row.detail


def render_table(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    rows = [tuple(columns), ("---",) * len(columns), *map(tuple, lines)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)
