"""What is sent to a database."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, event

WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE)\b")


@dataclass
class Statements:
    """The statements of each transaction, in order. One that only reads is rolled back."""

    transactions: list[list[str]] = field(default_factory=list)

    def __str__(self) -> str:
        writing = sum(any(map(WRITES.match, each)) for each in self.transactions)
        count = sum(map(len, self.transactions))
        reading = len(self.transactions) - writing
        return f"{writing} writing and {reading} reading transactions, {count} statements"

    def in_short(self) -> str:
        """Return each transaction on a line: what it does, and to which tables."""
        return "\n".join("  " + "; ".join(map(_short, each)) for each in self.transactions)


@contextmanager
def recording() -> Iterator[Statements]:
    """Collect what any engine of this process sends while the block lasts."""
    found = Statements()

    def began(_: Any) -> None:
        found.transactions.append([])

    def sent(_: Any, __: Any, statement: str, *___: Any) -> None:
        if not statement.startswith("BEGIN"):
            found.transactions[-1].append(statement)

    # before SQLite's own BEGIN, which is sent when a transaction has begun
    event.listen(Engine, "begin", began, insert=True)
    event.listen(Engine, "before_cursor_execute", sent)
    try:
        yield found
    finally:
        event.remove(Engine, "begin", began)
        event.remove(Engine, "before_cursor_execute", sent)


def _short(statement: str) -> str:
    verb = statement.split(None, 1)[0]
    tables = re.findall(r"(?:FROM|INTO|UPDATE)\s+(\w+)", statement)
    return " ".join([verb, *dict.fromkeys(tables)])
