"""The schema: created, upgraded and checked before the first transaction.

SQLite is upgraded when a process opens it, PostgreSQL by the command `db upgrade` only. Processes
may upgrade at the same time: a file lock (SQLite) or an advisory lock (PostgreSQL) lets one work
while the others wait. A migration is one transaction, so an interrupted one leaves no trace. A
revision that this version does not know belongs to a newer version and is refused.
"""

from pathlib import Path

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, func, inspect, select

from vmapi.errors import StoreUnavailable
from vmapi.store.answer_timeout import answer_timeout
from vmapi.store.database import Database
from vmapi.store.tables import metadata

HEAD_REVISION = "0001_initial"
"""The revision of the newest file in migrations/versions."""

alembic_version = Table(
    "alembic_version", MetaData(), Column("version_num", String(32), primary_key=True)
)
"""Alembic's table of the current revision."""

MIGRATION_LOCK_ID = 7_611_209
"""The advisory lock of a migration in PostgreSQL: any number that no other program uses."""

DISABLE_TIMEOUTS = "SET LOCAL lock_timeout TO 0; SET LOCAL idle_in_transaction_session_timeout TO 0"
"""A migration may take longer than a request may, and so may the wait for one."""

MIGRATIONS = Path(__file__).parent / "migrations"


def ensure_current(database: Database) -> None:
    """Upgrade SQLite; check PostgreSQL. Raises StoreUnavailable if it is outdated."""
    if database.engine.dialect.name == "sqlite":
        upgrade(database)
        return
    with database.outages.watch(writes=False), database.engine.connect() as connection:
        revision = current_revision(connection)
    if revision != HEAD_REVISION:
        state = f"at {revision}" if revision else "empty"
        raise StoreUnavailable(
            f"vmapi's database is {state}, {HEAD_REVISION} is needed: flask --app wsgi db upgrade"
        )


def upgrade(database: Database) -> None:
    """Upgrade the schema to the newest revision; safe to run concurrently and again.

    Raises StoreUnavailable, also for a database of a newer version.
    """
    with database.outages.watch(writes=True), database.file_lock(), answer_timeout(None):
        _upgrade(database.engine)


def current_revision(connection: Connection) -> str | None:
    """Return the revision of the schema; None for an empty database."""
    if not inspect(connection).has_table(alembic_version.name):
        return None
    revision: str | None = connection.execute(select(alembic_version.c.version_num)).scalar()
    return revision


def migrate(connection: Connection) -> None:
    """Run the missing migrations. Raises StoreUnavailable for an unknown revision."""
    # the import takes a quarter of a second, and a current database does not need it
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    revision = current_revision(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise StoreUnavailable(
            f"vmapi's database is at {revision}, which this version does not know: it needs "
            f"{HEAD_REVISION}. Run the version that upgraded the database, or a newer one."
        )
    command.upgrade(config, "head")


def _upgrade(engine: Engine) -> None:
    with engine.connect() as connection:
        if current_revision(connection) == HEAD_REVISION:
            return
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(DISABLE_TIMEOUTS)
            # a process that waited here finds the newest revision, and Alembic does nothing
            connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK_ID)))
        if inspect(connection).get_table_names():
            migrate(connection)
        else:
            _create_all(connection)


def _create_all(connection: Connection) -> None:
    metadata.create_all(connection)
    alembic_version.create(connection)
    connection.execute(alembic_version.insert().values(version_num=HEAD_REVISION))
