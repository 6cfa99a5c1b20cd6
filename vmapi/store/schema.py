"""Bringing the schema up to date. SQLite's is brought at start, PostgreSQL's by command."""

import fcntl
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from vmapi.errors import StoreUnavailable
from vmapi.store.database import Database, available

HEAD = "0001"
"""The newest change in migrations/versions."""

LOCK = 7_611_209
"""The number under which a PostgreSQL is locked while its schema is changed; any will do."""


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
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _run(engine: Engine) -> None:
    with engine.connect() as connection:
        if present(connection) == HEAD:
            return
    # costs a quarter of a second: only for who needs it
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            # who comes second waits, and finds nothing left to do
            connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
