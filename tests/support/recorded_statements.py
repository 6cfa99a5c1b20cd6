"""The statements that a database gets."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import event

from vmapi.store.database import Database


@contextmanager
def recorded_statements(database: Database) -> Iterator[list[str]]:
    """Record the statements during the block."""
    statements: list[str] = []

    def record(_: object, __: object, statement: str, *___: object) -> None:
        statements.append(statement)

    event.listen(database.engine, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        event.remove(database.engine, "before_cursor_execute", record)
