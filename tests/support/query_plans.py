"""Query plans, and large tables that make the planner choose an index."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Insert,
    Select,
    Table,
    cast,
    column,
    func,
    insert,
    literal,
    select,
    text,
    true,
)

from vmapi.store.clock import to_epoch_us
from vmapi.store.database import Database


def explain(database: Database, query: Select[Any]) -> str:
    """Return the query plan of the database."""
    with database.read() as connection:
        written = query.compile(connection, compile_kwargs={"literal_binds": True})
        if connection.dialect.name == "sqlite":
            lines = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {written}").all()
            return "\n".join(line.detail for line in lines)
        return "\n".join(connection.exec_driver_sql(f"EXPLAIN {written}").scalars())


def copy_rows(database: Database, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert copies of the only row of a table, each with other values in some columns."""
    with database.write() as connection:
        connection.execute(_insert_copies(table, rows, connection.dialect.name))
        connection.execute(text(f"ANALYZE {table.name}"))


def _insert_copies(table: Table, rows: Sequence[Mapping[str, Any]], dialect: str) -> Insert:
    """Return a statement that gets all rows as one document, which is quicker than many rows."""
    document = literal([{name: _to_json(row[name]) for name in row} for row in rows], JSON)
    split = func.json_each if dialect == "sqlite" else func.json_array_elements
    split_rows = split(document).table_valued(column("value", JSON))
    values: dict[str, Any] = dict(table.c.items())
    for name in set().union(*rows):
        value = cast(split_rows.c.value[name].as_string(), table.c[name].type)
        values[name] = func.coalesce(value, table.c[name])
    copies = select(*values.values()).select_from(table.join(split_rows, true()))
    return insert(table).from_select(list(values), copies)


def _to_json(value: object) -> object:
    return to_epoch_us(value) if isinstance(value, datetime) else value
