"""Record the transactions and SQL statements of this thread, on all engines of the process."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, event

WRITE_KINDS = ("durable", "not durable", "temporary")
"""The kinds of `vmapi.store.database.BEGIN_STATEMENTS` that write."""

UNCOUNTED_STATEMENTS = ("BEGIN", "PRAGMA", "SELECT 1 FROM sqlite_master")
"""The statements that begin a transaction, and the check of SQLite's file after a checkpoint."""


class StatementCounts(NamedTuple):
    """The transactions and statements of a change."""

    reads: int
    """Transactions that only read."""
    writes: int
    """Transactions that write."""
    disk_waits: int
    """Commits that wait for the disk."""
    statements: int
    """Statements in all transactions, without `UNCOUNTED_STATEMENTS`."""


@dataclass(frozen=True)
class Transaction:
    """One transaction: its kind, and its statements in order."""

    kind: str
    statements: list[str] = field(default_factory=list)


@dataclass
class Recording:
    """The transactions of one thread, in order."""

    thread_id: int
    transactions: list[Transaction] = field(default_factory=list)

    @property
    def counts(self) -> StatementCounts:
        """The numbers of transactions and statements."""
        # the check of a file after a checkpoint may begin a transaction without a statement
        kinds = [transaction.kind for transaction in self.transactions if transaction.statements]
        writes = sum(kind in WRITE_KINDS for kind in kinds)
        statements = sum(len(transaction.statements) for transaction in self.transactions)
        return StatementCounts(len(kinds) - writes, writes, kinds.count("durable"), statements)

    def in_short(self) -> str:
        """Return a line for each transaction, with the verbs and tables."""
        return "\n".join(
            f"  {transaction.kind}: " + "; ".join(map(_shorten, transaction.statements))
            for transaction in self.transactions
        )


_recordings: list[Recording] = []


@contextmanager
def recording() -> Iterator[Recording]:
    """Record the statements of this thread while the block lasts."""
    _listen()
    recorded = Recording(threading.get_ident())
    _recordings.append(recorded)
    try:
        yield recorded
    finally:
        _recordings.remove(recorded)


@cache
def _listen() -> None:
    event.listen(Engine, "begin", _on_begin, insert=True)
    event.listen(Engine, "before_cursor_execute", _on_statement)


def _on_begin(connection: Connection) -> None:
    kind = connection.get_execution_options().get("begins", "durable")
    for recorded in _current_recordings():
        recorded.transactions.append(Transaction(kind))


def _on_statement(_: Any, __: Any, statement: str, *___: Any) -> None:
    if statement.startswith(UNCOUNTED_STATEMENTS):
        return
    for recorded in _current_recordings():
        recorded.transactions[-1].statements.append(statement)


def _current_recordings() -> list[Recording]:
    thread_id = threading.get_ident()
    return [recorded for recorded in _recordings if recorded.thread_id == thread_id]


def _shorten(statement: str) -> str:
    verb = statement.split(None, 1)[0]
    tables = re.findall(r"(?:FROM|INTO|UPDATE)\s+(\w+)", statement)
    return " ".join([verb, *dict.fromkeys(tables)])
