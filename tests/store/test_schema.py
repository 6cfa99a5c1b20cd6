"""Schema tests: migrations equal the tables, concurrent and interrupted upgrades, refusals."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event, text

from tests.support.blocking_source import wait_until
from tests.support.databases import THREADS, new_postgresql
from tests.support.fake_clock import Clock
from tests.support.operation_factory import OperationFactory
from vmapi.errors import StoreUnavailable
from vmapi.store import schema, schema_version
from vmapi.store.connections import engine_setup
from vmapi.store.database import Database
from vmapi.store.operations.repository import OperationRepository
from vmapi.store.schema_version import REVISIONS, alembic_version
from vmapi.store.tables import metadata

ROOT = Path(__file__).parents[2]
DIALECTS = pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
UPGRADE_SCRIPT = """
import sys
from vmapi.store import schema, schema_version
from vmapi.store.database import Database
database = Database(sys.argv[1], 2, schema.ensure_current)
print("ready", flush=True)
sys.stdin.readline()
print(schema.upgrade(database))
database.close()
"""


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/vmapi.sqlite3"
        return
    with new_postgresql() as new_url:
        yield new_url


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url, THREADS, schema.ensure_current)
    yield database
    database.close()


def migrate_from_scratch(database: Database) -> None:
    """Run every migration, even where an upgrade would create the tables directly."""
    with database.file_lock(), database.engine.begin() as connection:
        schema.migrate(connection)


def check_alembic(database: Database) -> None:
    """Assert that Alembic finds no difference between the schema and the tables."""
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert schema.select_version(connection).revision == schema.HEAD_REVISION


def schema_names(database: Database) -> set[str]:
    """Return the names of tables, indexes and constraints."""
    query = "SELECT name FROM sqlite_master"
    if database.engine.dialect.name == "postgresql":
        query = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        query += " UNION SELECT conname FROM pg_constraint WHERE contype <> 'n'"
        query += " AND connamespace = 'public'::regnamespace"
    with database.engine.connect() as connection:
        names = set(connection.execute(text(query)).scalars())
    return {name for name in names if "alembic" not in name}


def set_version(database: Database, revision: str, oldest_revision: str) -> None:
    version = {"version_num": revision, "oldest_revision": oldest_revision}
    with database.engine.begin() as connection:
        connection.execute(alembic_version.update().values(version))


@DIALECTS
def test_migrations_produce_the_schema_of_the_tables(database: Database) -> None:
    migrate_from_scratch(database)
    check_alembic(database)


@DIALECTS
def test_upgrade_of_an_empty_database_produces_the_same_schema(database: Database) -> None:
    schema.upgrade(database)
    check_alembic(database)


@DIALECTS
def test_migrations_name_tables_and_indexes_as_the_metadata_does(database: Database) -> None:
    migrate_from_scratch(database)
    migrated = schema_names(database)
    with database.engine.begin() as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
    assert schema_names(database) == migrated


def index_definitions(database: Database) -> set[str]:
    """Return the SQL of all indexes, with their conditions."""
    query = "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    if database.engine.dialect.name == "postgresql":
        query = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'"
    with database.engine.connect() as connection:
        definitions = set(connection.execute(text(query)).scalars())
    return {definition for definition in definitions if "alembic" not in definition}


@DIALECTS
def test_indexes_of_the_metadata_have_the_conditions_of_the_migrations(database: Database) -> None:
    migrate_from_scratch(database)
    migrated = index_definitions(database)
    with database.engine.begin() as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
    assert index_definitions(database) == migrated
    assert sum(" WHERE " in definition for definition in migrated) > 3


def test_head_revision_is_the_newest_migration() -> None:
    script = ScriptDirectory(str(ROOT / "vmapi/store/migrations"))
    assert script.get_heads() == [schema.HEAD_REVISION]
    assert [item.revision for item in script.walk_revisions()] == list(reversed(REVISIONS))


@DIALECTS
def test_repeated_upgrade_keeps_the_rows(database: Database) -> None:
    schema.upgrade(database)
    store = OperationRepository(database, Clock())
    store.add(OperationFactory(Clock())("1"))
    schema.upgrade(database)
    assert store.get("1").id == "1"
    store.close()


@DIALECTS
@pytest.mark.parametrize("run", [schema.upgrade, migrate_from_scratch])
def test_an_interrupted_upgrade_leaves_no_trace_and_can_be_repeated(
    database: Database, run: Any
) -> None:
    def interrupt(_: Any, __: Any, statement: str, *___: Any) -> None:
        if "CREATE TABLE audit_entries" in statement:
            raise KeyboardInterrupt

    event.listen(database.engine, "before_cursor_execute", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(database)
    event.remove(database.engine, "before_cursor_execute", interrupt)
    assert schema_names(database) == set()
    schema.upgrade(database)
    check_alembic(database)


@DIALECTS
def test_concurrent_upgrades_of_three_processes_all_succeed(url: str) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", UPGRADE_SCRIPT, url],
            cwd=ROOT,
            text=True,
            **pipes,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        output, errors = process.communicate(timeout=60)
        assert (output, process.returncode) == (f"{schema.HEAD_REVISION}\n", 0), errors


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_postgresql_is_upgraded_by_command_only(database: Database) -> None:
    store = OperationRepository(database, Clock())
    for _ in range(2):
        with pytest.raises(StoreUnavailable) as caught:
            store.list_leased()
        assert caught.value.detail == (
            f"vmapi's database is empty, {schema.HEAD_REVISION} is needed: vmapi db upgrade"
        )
    schema.upgrade(database)
    assert store.list_leased() == []


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_an_outdated_postgresql_schema_is_named(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema.upgrade(database)
    monkeypatch.setattr(schema_version, "REVISIONS", ("0000", schema.HEAD_REVISION))
    set_version(database, "0000", "0000")
    with pytest.raises(StoreUnavailable, match=f"at 0000, {schema.HEAD_REVISION} is needed"):
        database.ping()


@DIALECTS
def test_upgrade_refuses_a_schema_of_a_newer_version(url: str, database: Database) -> None:
    schema.upgrade(database)
    set_version(database, "9999_future", "9999_future")
    names = schema_names(database)
    other = Database(url, THREADS, schema.ensure_current)
    with pytest.raises(StoreUnavailable, match="9999_future, which this version does not know"):
        schema.upgrade(other)
    with pytest.raises(StoreUnavailable, match=r"at 9999_future, .*0001_initial"):
        other.ping()
    other.close()
    assert schema_names(database) == names


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_sqlite_locked_for_too_long_raises_store_unavailable(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(engine_setup, "LOCK_TIMEOUT", 0.05)
    database, clock = Database(url, THREADS, schema.ensure_current), Clock()
    store, make = OperationRepository(database, clock), OperationFactory(clock)
    store.add(make("1"))
    store.release("1")
    with database.engine.connect() as hog:
        hog.execute(text("UPDATE operations SET revision = revision"))
        # readers are not in its way
        assert [operation.id for operation in store.list_leased()] == ["1"]
        with pytest.raises(StoreUnavailable, match="does not answer"):
            store.add(make("2", vm_id="other"))
        with pytest.raises(StoreUnavailable):
            store.save(store.get("1"))
    with store.lease("1") as held:
        assert held
    store.add(make("2", vm_id="other"))
    store.close()


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_cut_connections_are_replaced(database: Database) -> None:
    schema.upgrade(database)
    store = OperationRepository(database, Clock())
    store.add(OperationFactory(Clock())("1"))
    with database.read() as connection:
        others = "FROM pg_stat_activity"
        others += " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        with database.read() as other:
            other.execute(text("SELECT 1"))
        connection.execute(text(f"SELECT pg_terminate_backend(pid) {others}"))
        # the server process needs time to end
        wait_until(lambda: connection.execute(text(f"SELECT count(*) {others}")).scalar() == 0)
    assert store.get("1").id == "1"
    store.close()


def test_unreachable_server_raises_store_unavailable() -> None:
    url = "postgresql+psycopg://user@127.0.0.1:1/nothing"
    database = Database(url, 2, schema.ensure_current)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="vmapi's database does not answer"):
            database.ping()
