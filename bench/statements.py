"""Record the SQL statements of all engines of the process."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, event

WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE)\b")


@dataclass
class Statements:
    """The statements of each transaction, in order."""

    transactions: list[list[str]] = field(default_factory=list)

    def __str__(self) -> str:
        writing = sum(any(map(WRITES.match, statements)) for statements in self.transactions)
        count = sum(map(len, self.transactions))
        reading = len(self.transactions) - writing
        return f"{writing} writing and {reading} reading transactions, {count} statements"

    def in_short(self) -> str:
        """Return a line for each transaction, with the verbs and tables."""
        return "\n".join(
            "  " + "; ".join(map(_shorten, statements)) for statements in self.transactions
        )


@contextmanager
def recording() -> Iterator[Statements]:
    """Record the statements of the block."""
    recorded = Statements()

    def began(_: Any) -> None:
        recorded.transactions.append([])

    def sent(_: Any, __: Any, statement: str, *___: Any) -> None:
        if not statement.startswith("BEGIN"):
            recorded.transactions[-1].append(statement)

    # before the listener that sends BEGIN to SQLite
    event.listen(Engine, "begin", began, insert=True)
    event.listen(Engine, "before_cursor_execute", sent)
    try:
        yield recorded
    finally:
        event.remove(Engine, "begin", began)
        event.remove(Engine, "before_cursor_execute", sent)


def _shorten(statement: str) -> str:
    verb = statement.split(None, 1)[0]
    tables = re.findall(r"(?:FROM|INTO|UPDATE)\s+(\w+)", statement)
    return " ".join([verb, *dict.fromkeys(tables)])
