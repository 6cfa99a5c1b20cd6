"""The schema: created, upgraded and checked before the first transaction.

SQLite is upgraded when a process opens it, PostgreSQL by the command `db upgrade` only. Processes
may upgrade at the same time: a file lock (SQLite) or an advisory lock (PostgreSQL) lets one work
while the others wait. A migration is one transaction, so an interrupted one leaves no trace. Older
processes serve during an upgrade and after it, until `contract` ends the support for them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, event, func, inspect, select
from sqlalchemy.exc import OperationalError

from vmapi.errors import StoreUnavailable
from vmapi.store import schema_version
from vmapi.store.connections.answer_timeout import answer_timeout
from vmapi.store.database import Database
from vmapi.store.migrations.expand_rule import ExpandRule
from vmapi.store.schema_version import (
    HEAD_REVISION,
    REVISIONS,
    alembic_version,
    list_tables,
    read_version,
    select_version,
)
from vmapi.store.tables import metadata

MIGRATION_LOCK_ID = 7_611_209
"""The advisory lock of a migration in PostgreSQL: any number that no other program uses."""

DISABLE_TIMEOUTS = "SET LOCAL lock_timeout TO 0; SET LOCAL idle_in_transaction_session_timeout TO 0"
"""A migration may take longer than a request may, and so may the wait for one."""

LIMIT_TABLE_WAIT = "SET LOCAL lock_timeout TO '2s'"
"""Requests queue behind a migration that waits for a table, so it waits less than they may."""

LOCK_NOT_AVAILABLE = "55P03"
"""https://www.postgresql.org/docs/current/errcodes-appendix.html"""


def ensure_current(database: Database) -> None:
    """Upgrade SQLite; check PostgreSQL. Raises StoreUnavailable if it is outdated."""
    if database.engine.dialect.name == "sqlite":
        upgrade(database)
        return
    with database.outages.watch(writes=False), database.engine.connect() as connection:
        version = read_version(connection)
    if version is None or not version.may_be_served():
        if version is not None:
            version.check_known()
        state = version.describe() if version else "empty"
        raise StoreUnavailable(
            f"vmapi's database is {state}, {HEAD_REVISION} is needed: vmapi db upgrade"
        )


def upgrade(database: Database) -> str:
    """Run the missing expand steps, and return the revision; safe to run concurrently and again.

    Raises StoreUnavailable, also for a database that only a newer version may serve.
    """
    with database.outages.watch(writes=True), database.file_lock(), answer_timeout(None):
        return _upgrade(database.engine)


def contract(database: Database) -> str:
    """Run the contract steps, and return the oldest revision with code that may serve.

    Raises StoreUnavailable, also for a database that is not at the revision of this version.
    """
    upgrade(database)
    with (
        database.outages.watch(writes=True),
        database.file_lock(),
        answer_timeout(None),
        _migration(database.engine) as connection,
    ):
        return _run_contract_steps(connection)


def migrate(connection: Connection) -> None:
    """Run the missing migrations. Raises StoreUnavailable for an unknown revision."""
    # the import takes a quarter of a second, and a current database does not need it
    from alembic import command
    from alembic.config import Config

    version = read_version(connection)
    if version is not None:
        version.check_known()
        if version.may_be_served():
            # of this version or a newer one: another process was faster
            return
    config = Config()
    config.set_main_option("script_location", str(schema_version.MIGRATIONS))
    config.attributes["connection"] = connection
    check = ExpandRule().check_statement
    event.listen(connection, "before_cursor_execute", check)
    try:
        command.upgrade(config, "head")
    finally:
        event.remove(connection, "before_cursor_execute", check)
    if version is None or not version.oldest_revision:
        _name_oldest_revision(connection)


def _upgrade(engine: Engine) -> str:
    with engine.connect() as connection:
        version = read_version(connection)
    if version is not None and version.may_be_served():
        return version.revision
    with _migration(engine) as connection:
        if list_tables(connection):
            migrate(connection)
        else:
            _create_all(connection)
        return select_version(connection).revision


@contextmanager
def _migration(engine: Engine) -> Iterator[Connection]:
    """Open the transaction of a migration, alone. Raises StoreUnavailable if a table is in use."""
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(DISABLE_TIMEOUTS)
                connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK_ID)))
                connection.exec_driver_sql(LIMIT_TABLE_WAIT)
            yield connection
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
            raise
        raise StoreUnavailable(
            "A long transaction, such as a backup, holds a table of vmapi's database. Nothing was "
            "changed. Repeat the command."
        ) from error


def _run_contract_steps(connection: Connection) -> str:
    from alembic.migration import MigrationContext
    from alembic.operations import Operations
    from alembic.script import ScriptDirectory

    version = select_version(connection)
    oldest_revision = version.oldest_revision
    if version.revision != HEAD_REVISION:
        raise StoreUnavailable(
            f"vmapi's database is at {version.revision}: contract it with the version that "
            "upgraded it, or a newer one."
        )
    scripts = ScriptDirectory(str(schema_version.MIGRATIONS))
    context = MigrationContext.configure(connection, opts={"render_as_batch": True})
    with Operations.context(context):
        for revision in REVISIONS[REVISIONS.index(oldest_revision) + 1 :]:
            script = scripts.get_revision(revision)
            if hasattr(script.module, "contract"):
                script.module.contract()
                oldest_revision = revision
    connection.execute(alembic_version.update().values(oldest_revision=oldest_revision))
    return oldest_revision


def _name_oldest_revision(connection: Connection) -> None:
    columns = inspect(connection).get_columns(alembic_version.name)
    if alembic_version.c.oldest_revision.name not in {column["name"] for column in columns}:
        statement = f"ALTER TABLE {alembic_version.name} ADD COLUMN oldest_revision VARCHAR(32)"
        connection.exec_driver_sql(statement)
    connection.execute(alembic_version.update().values(oldest_revision=REVISIONS[0]))


def _create_all(connection: Connection) -> None:
    metadata.create_all(connection)
    alembic_version.create(connection)
    row = {"version_num": HEAD_REVISION, "oldest_revision": HEAD_REVISION}
    connection.execute(alembic_version.insert().values(row))
