"""Query plans, and large tables that make the planner choose an index."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, insert, select, text

from vmapi.store.database import Database


def explain(database: Database, query: Select[Any]) -> str:
    """Return the query plan of the database."""
    with database.read() as connection:
        written = query.compile(connection, compile_kwargs={"literal_binds": True})
        if connection.dialect.name == "sqlite":
            lines = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {written}").all()
            return "\n".join(line.detail for line in lines)
        return "\n".join(connection.exec_driver_sql(f"EXPLAIN {written}").scalars())


def copy_rows(database: Database, table: Any, rows: Sequence[dict[str, Any]]) -> None:
    """Insert copies of the first row of a table, each with other values in some columns."""
    with database.write() as connection:
        like = dict(connection.execute(select(table)).mappings().one())
        connection.execute(insert(table), [{**like, **row} for row in rows])
        connection.execute(text(f"ANALYZE {table.name}"))
