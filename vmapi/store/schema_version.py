"""The version of a schema: its newest revision, and the oldest one with code that may serve it.

An expand step adds what newer code needs, and older code continues to serve. A contract step
removes what older code needs, and raises the oldest revision.
"""

from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select, text

from vmapi.errors import StoreUnavailable
from vmapi.store.connections.location import describe_location
from vmapi.store.connections.sqlite_files import MAX_NAMED_TABLES
from vmapi.store.tables import metadata

MIGRATIONS = Path(__file__).parent / "migrations"

REVISIONS = tuple(sorted(path.stem for path in (MIGRATIONS / "versions").glob("[0-9]*.py")))
"""The revisions that this code knows, oldest first: the names of the files."""

HEAD_REVISION = REVISIONS[-1]
"""The revision that this code needs."""

alembic_version = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), primary_key=True),
    Column("oldest_revision", String(32)),
)
"""Alembic's table of the current revision, and the oldest one with code that may serve it."""


LIST_POSTGRESQL_TABLES = text(
    "SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
    "WHERE nspname = current_schema() AND relkind IN ('r', 'p', 'f') AND NOT EXISTS ("
    "SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid "
    "AND deptype = 'e') ORDER BY relname"
)
"""The tables of PostgreSQL that belong to no extension (`pg_depend.deptype`).

Source: https://www.postgresql.org/docs/current/catalog-pg-depend.html
"""


class SchemaVersion(NamedTuple):
    """The version of a schema."""

    revision: str
    oldest_revision: str
    """Empty for the schema of a version that did not name it."""

    def may_be_served(self) -> bool:
        """Return whether this code may serve the schema, its own or a newer one."""
        is_new_enough = self.revision == HEAD_REVISION or self.revision not in REVISIONS
        return is_new_enough and self.oldest_revision in REVISIONS

    def describe(self) -> str:
        """Return the version for a message."""
        return f"at {self.revision}" + ("" if self.oldest_revision else " of an earlier build")

    def check_known(self) -> None:
        """Raise StoreUnavailable if the schema needs a newer version of vmapi."""
        if self.revision not in REVISIONS and not self.may_be_served():
            raise StoreUnavailable(
                f"vmapi's database is at {self.revision}, which this version does not know: it "
                f"needs {HEAD_REVISION}. Run the version that upgraded the database, or a newer "
                "one."
            )


def read_version(connection: Connection) -> SchemaVersion | None:
    """Return the version of the schema; None for an empty database.

    Raises StoreUnavailable for a PostgreSQL database of another program. SQLite's is refused
    before its file is opened.
    """
    version = _read_version(connection)
    if connection.dialect.name == "postgresql":
        _check_owner(connection, version)
    return version


def list_tables(connection: Connection) -> list[str]:
    """Return the names of the tables in the schema of vmapi, without those of extensions."""
    if connection.dialect.name != "postgresql":
        return inspect(connection).get_table_names()
    return list(connection.execute(LIST_POSTGRESQL_TABLES).scalars())


def _check_owner(connection: Connection, version: SchemaVersion | None) -> None:
    """Raise StoreUnavailable for tables of another program, which may use Alembic, too."""
    if version is not None and (version.revision in REVISIONS or version.oldest_revision):
        return
    names = [name for name in list_tables(connection) if name != alembic_version.name]
    is_foreign = names if version is None else not any(name in metadata.tables for name in names)
    if is_foreign:
        listed = ", ".join(names[:MAX_NAMED_TABLES]) or alembic_version.name
        raise StoreUnavailable(
            "vmapi's database belongs to another program.",
            reason=f"{describe_location(connection.engine.url)} has the tables of another program "
            f"({listed}): name an empty database in VMAPI_DATABASE_URL",
        )


def _read_version(connection: Connection) -> SchemaVersion | None:
    inspector = inspect(connection)
    if not inspector.has_table(alembic_version.name):
        return None
    names = {column["name"] for column in inspector.get_columns(alembic_version.name)}
    if alembic_version.c.oldest_revision.name in names:
        row = connection.execute(select(alembic_version)).one_or_none()
        return SchemaVersion(row.version_num, row.oldest_revision or "") if row else None
    revision = connection.execute(select(alembic_version.c.version_num)).scalar()
    return SchemaVersion(revision, "") if revision else None


def select_version(connection: Connection) -> SchemaVersion:
    """Return the version of a schema that names its oldest revision."""
    return SchemaVersion(*connection.execute(select(alembic_version)).one())


def check_support(connection: Connection) -> None:
    """Raise StoreUnavailable if a contract step has ended the support for this code."""
    version = select_version(connection)
    if not version.may_be_served():
        raise StoreUnavailable(
            f"vmapi's database needs {version.oldest_revision} or newer, this version has "
            f"{HEAD_REVISION}: start the new version."
        )
