"""Bringing the schema up to date. SQLite's is brought at start, PostgreSQL's by command."""

import fcntl
from pathlib import Path

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, func, inspect, select

from vmapi.errors import StoreUnavailable
from vmapi.store.access_tables import metadata
from vmapi.store.database import Database, available

HEAD = "0010"
"""The newest change in migrations/versions."""

versions = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
"""Where Alembic keeps which change the schema stands at."""

LOCK = 7_611_209
"""The number under which a PostgreSQL is locked while its schema is changed; any will do."""

PATIENT = "SET LOCAL lock_timeout TO 0; SET LOCAL idle_in_transaction_session_timeout TO 0"
"""A change may take as long as it takes, and so may one that is waited for."""


def prepare(database: Database) -> None:
    """Bring SQLite's schema up to date; see that PostgreSQL's is. Raises StoreUnavailable."""
    if database.engine.dialect.name == "sqlite":
        upgrade(database)
        return
    with available(), database.engine.connect() as connection:
        found = present(connection)
    if found != HEAD:
        at = f"at {found}" if found else "empty"
        detail = f"vmapi's database is {at}, {HEAD} is needed: flask --app wsgi db upgrade"
        raise StoreUnavailable(detail)


def upgrade(database: Database) -> None:
    """Bring the schema up to date; several processes may do so at once. Raises StoreUnavailable."""
    path = database.engine.url.database
    with available():
        if database.engine.dialect.name == "sqlite" and path:
            with Path(f"{path}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                _run(database.engine)
        else:
            _run(database.engine)


def present(connection: Connection) -> str | None:
    """Return the change that the schema stands at; None for an empty database."""
    if not inspect(connection).has_table(versions.name):
        return None
    found: str | None = connection.execute(select(versions.c.version_num)).scalar()
    return found


def _run(engine: Engine) -> None:
    with engine.connect() as connection:
        if present(connection) == HEAD:
            return
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(PATIENT)
            # who comes second waits, and finds nothing left to do
            connection.execute(select(func.pg_advisory_xact_lock(LOCK)))
        if inspect(connection).get_table_names():
            migrate(connection)
        else:
            _make(connection)


def _make(connection: Connection) -> None:
    metadata.create_all(connection)
    versions.create(connection)
    connection.execute(versions.insert().values(version_num=HEAD))


def migrate(connection: Connection, to: str = "head") -> None:
    """Change a schema step by step, by Alembic."""
    # costs a quarter of a second: only for who needs it
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)
