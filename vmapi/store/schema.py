"""Bringing the schema up to date. SQLite's is brought at start, PostgreSQL's by command."""

import fcntl
from pathlib import Path

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, func, inspect, select

from vmapi.errors import StoreUnavailable
from vmapi.store.access_tables import metadata
from vmapi.store.database import Database, translate_errors

HEAD_REVISION = "0011"
"""The newest change in migrations/versions."""

alembic_version = Table(
    "alembic_version", MetaData(), Column("version_num", String(32), primary_key=True)
)
"""Where Alembic keeps which change the schema stands at."""

MIGRATION_LOCK_ID = 7_611_209
"""The number under which a PostgreSQL is locked while its schema is changed; any will do."""

DISABLE_TIMEOUTS = "SET LOCAL lock_timeout TO 0; SET LOCAL idle_in_transaction_session_timeout TO 0"
"""A change may take as long as it takes, and so may one that is waited for."""


def ensure_current(database: Database) -> None:
    """Bring SQLite's schema up to date; see that PostgreSQL's is. Raises StoreUnavailable."""
    if database.engine.dialect.name == "sqlite":
        upgrade(database)
        return
    with translate_errors(), database.engine.connect() as connection:
        found = current_revision(connection)
    if found != HEAD_REVISION:
        at = f"at {found}" if found else "empty"
        detail = f"vmapi's database is {at}, {HEAD_REVISION} is needed: flask --app wsgi db upgrade"
        raise StoreUnavailable(detail)


def upgrade(database: Database) -> None:
    """Bring the schema up to date; several processes may do so at once. Raises StoreUnavailable."""
    path = database.engine.url.database
    with translate_errors():
        if database.engine.dialect.name == "sqlite" and path:
            with Path(f"{path}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                _upgrade(database.engine)
        else:
            _upgrade(database.engine)


def current_revision(connection: Connection) -> str | None:
    """Return the change that the schema stands at; None for an empty database."""
    if not inspect(connection).has_table(alembic_version.name):
        return None
    found: str | None = connection.execute(select(alembic_version.c.version_num)).scalar()
    return found


def _upgrade(engine: Engine) -> None:
    with engine.connect() as connection:
        if current_revision(connection) == HEAD_REVISION:
            return
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(DISABLE_TIMEOUTS)
            # who comes second waits, and finds nothing left to do
            connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK_ID)))
        if inspect(connection).get_table_names():
            migrate(connection)
        else:
            _create_all(connection)


def _create_all(connection: Connection) -> None:
    metadata.create_all(connection)
    alembic_version.create(connection)
    connection.execute(alembic_version.insert().values(version_num=HEAD_REVISION))


def migrate(connection: Connection, to: str = "head") -> None:
    """Change a schema step by step, by Alembic."""
    # costs a quarter of a second: only for who needs it
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)
