"""Inspect a database for operators, without an upgrade of its schema."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import sqlalchemy
from sqlalchemy import Connection, func, select, text

from vmapi.store.connections.location import describe_location
from vmapi.store.database import Database
from vmapi.store.schema_version import HEAD_REVISION, SchemaVersion, read_version
from vmapi.store.tables import metadata

MAX_INTEGRITY_PROBLEMS = 20
"""Problems of SQLite's check that are reported."""

POSTGRESQL_SETTINGS = ("fsync", "full_page_writes", "synchronous_commit", "data_checksums")
LOSSLESS_SETTINGS = ("fsync", "full_page_writes", "synchronous_commit")
"""Settings of PostgreSQL that must not be off: a power failure would lose accepted changes."""


@dataclass(frozen=True, slots=True)
class DatabaseInspection:
    """A database as found."""

    kind: str
    version: str
    """The version of SQLite or PostgreSQL."""
    location: str
    """The path, or host and name, without a password."""
    size_bytes: int
    schema: SchemaVersion | None
    """The version of the schema; None for an empty database."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings of PostgreSQL."""
    problems: tuple[str, ...] = ()

    @property
    def needed_revision(self) -> str:
        """The revision of this version of vmapi."""
        return HEAD_REVISION

    @property
    def is_current(self) -> bool:
        """Whether this version of vmapi may serve the schema."""
        return self.schema is not None and self.schema.may_be_served()

    @property
    def revision(self) -> str | None:
        """The revision of the schema; None for an empty database."""
        return self.schema.revision if self.schema else None


def inspect(database: Database) -> DatabaseInspection:
    """Read the version of the schema, and check the integrity. Raises StoreUnavailable.

    SQLite reads the whole file. PostgreSQL has no such check: its settings are compared.
    """
    is_sqlite = database.engine.dialect.name == "sqlite"
    with database.read() as connection:
        found = (_inspect_sqlite if is_sqlite else _inspect_postgresql)(connection)
        return replace(found, problems=(*_find_missing_tables(connection, found), *found.problems))


def _find_missing_tables(connection: Connection, found: DatabaseInspection) -> Iterator[str]:
    """Yield a problem for each missing table; another revision may have other tables."""
    if found.revision == HEAD_REVISION:
        names = sqlalchemy.inspect(connection).get_table_names()
        yield from (f"the table {name} is missing" for name in metadata.tables if name not in names)


def count_rows(database: Database) -> Mapping[str, int]:
    """Return the number of rows of each table. Raises StoreUnavailable."""
    with database.read() as connection:
        return {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in metadata.tables.items()
        }


def _inspect_sqlite(connection: Connection) -> DatabaseInspection:
    pages, page_size = (
        int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
        for name in ("page_count", "page_size")
    )
    return DatabaseInspection(
        kind="SQLite",
        version=connection.exec_driver_sql("SELECT sqlite_version()").scalar_one(),
        location=describe_location(connection.engine.url),
        size_bytes=pages * page_size,
        schema=read_version(connection),
        problems=tuple(find_sqlite_problems(connection)),
    )


def find_sqlite_problems(connection: Connection) -> Iterator[str]:
    """Yield the problems that SQLite's integrity checks find.

    Source: https://www.sqlite.org/pragma.html#pragma_quick_check
    """
    for (problem,) in connection.exec_driver_sql(f"PRAGMA quick_check({MAX_INTEGRITY_PROBLEMS})"):
        if problem != "ok":
            yield f"quick_check: {problem}"
    for table, row_id, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield f"foreign_key_check: row {row_id} of {table} has no row in {parent}"


def _inspect_postgresql(connection: Connection) -> DatabaseInspection:
    settings = {
        name: str(connection.execute(text(f"SHOW {name}")).scalar_one())
        for name in POSTGRESQL_SETTINGS
    }
    problems = [
        f"{name} is off: a power failure loses accepted changes"
        for name in LOSSLESS_SETTINGS
        if settings[name] == "off"
    ]
    if connection.execute(text("SELECT pg_is_in_recovery()")).scalar_one():
        problems.append("the server is a standby: it takes no changes")
    elif connection.execute(text("SHOW default_transaction_read_only")).scalar_one() == "on":
        problems.append("default_transaction_read_only is on: the database takes no changes")
    size = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
    return DatabaseInspection(
        kind="PostgreSQL",
        version=str(connection.execute(text("SHOW server_version")).scalar_one()),
        location=describe_location(connection.engine.url),
        size_bytes=int(size),
        schema=read_version(connection),
        settings=settings,
        problems=tuple(problems),
    )
