"""The schema: migrated as the tables say, once, by whoever is first; and what is away is said."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from tests.support.audit_chain import SECRET
from tests.support.blocking_source import until
from tests.support.databases import THREADS, new_postgresql
from tests.support.factories import VM_1
from tests.support.fake_clock import Clock
from tests.support.operation_factory import Maker
from vmapi.domain.audit import AuditQuery
from vmapi.domain.lifecycle import Action, Task, Verb
from vmapi.domain.operation import Step, StepState
from vmapi.errors import NameTaken, StoreUnavailable
from vmapi.store import connections, schema
from vmapi.store.audit.trail import AuditRepository
from vmapi.store.database import Database
from vmapi.store.inventory.repository import InventoryRepository
from vmapi.store.operations.repository import OperationRepository
from vmapi.store.tables import metadata
from vmapi.store.types import EPOCH

ROOT = Path(__file__).parents[2]
DIALECTS = pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
MIGRATE = """
import sys
from vmapi.store import schema
from vmapi.store.audit.trail import AuditTrail
from vmapi.store.database import Database
database = Database(sys.argv[1], 2, schema.prepare)
print("ready", flush=True)
sys.stdin.readline()
schema.upgrade(database)
with database.read() as connection:
    print(schema.present(connection))
database.close()
"""


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/vmapi.sqlite3"
        return
    with new_postgresql() as made:
        yield made


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url, THREADS, schema.ensure_current)
    yield database
    database.close()


def check_alembic(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert schema.current_revision(connection) == schema.HEAD_REVISION


@DIALECTS
def test_the_migrations_make_what_the_tables_say(database: Database) -> None:
    with database.engine.begin() as connection:
        schema.migrate(connection)
    check_alembic(database)


@DIALECTS
def test_a_new_database_is_as_if_it_had_been_migrated(database: Database) -> None:
    schema.upgrade(database)
    check_alembic(database)


BEFORE_THE_INVENTORY = (
    """
INSERT INTO operations (id, action, vm_id, status, requested_by, request_id, created_at,
                        finished_at, revision)
VALUES ('1', 'stop', 'vm', 'running', 'anonymous', 'r', 1, NULL, 0)
""",
    "INSERT INTO steps (operation_id, position, verb, state) VALUES ('1', 0, 'stop', 'sent')",
)
OLD = (
    """
INSERT INTO operations (id, action, vm_id, status, claimed_name, requested_by, request_id,
                        created_at, finished_at, revision)
VALUES ('1', 'create', 'vm', 'running', 'web', 'anonymous', 'r', 1, NULL, 0),
       ('2', 'create', NULL, 'succeeded', 'db', 'anonymous', 'r', 1, 2, 0)
""",
    "INSERT INTO steps (operation_id, position, verb, state) VALUES ('1', 0, 'create', 'sent')",
)


@DIALECTS
def test_what_an_older_version_has_kept_is_there_after_it(database: Database) -> None:
    with database.engine.begin() as connection:
        schema.migrate(connection, "0001")
        for statement in OLD:
            connection.execute(text(statement))
    schema.upgrade(database)
    store, make = OperationRepository(database, Clock()), Maker(Clock())
    assert [found.id for found in store.list_leased()] == []
    kept = store.get("1")
    assert (kept.reserved_name, kept.project, kept.address) == ("web", "default", "")
    with pytest.raises(NameTaken) as caught:
        store.add(make("3", Action.CREATE, None, "web"))
    assert caught.value.extra == {"vm_id": "vm"}
    store.add(make("4", Action.CREATE, None, "db"))
    store.close()
    check_alembic(database)


@DIALECTS
def test_the_inventory_comes_and_goes(database: Database) -> None:
    with database.engine.begin() as connection:
        schema.migrate(connection, "0002")
        for statement in BEFORE_THE_INVENTORY:
            connection.execute(text(statement))
    assert not {"vms", "syncs"} & names(database)
    schema.upgrade(database)
    inventory, make = InventoryRepository(database), Maker(Clock())
    assert inventory.latest_update() is None
    # what was under way before is laid over what is seen after
    inventory.save_observations([replace(VM_1, id="vm")], inventory.observation_time())
    seen = inventory.get("vm")
    assert seen is not None
    assert seen.vm.task is Task.STOPPING
    store = OperationRepository(database, Clock())
    store.save(make.over(store.get("1")))
    seen = inventory.get("vm")
    assert seen is not None
    assert seen.vm.task is None
    store.close()
    check_alembic(database)


PLANNED = (
    """
INSERT INTO operations (id, action, vm_id, status, requested_by, request_id, created_at, revision)
VALUES ('1', 'stop', 'vm', 'running', 'anonymous', 'r', 1, 1),
       ('2', 'start', 'other', 'pending', 'anonymous', 'r', 2, 0)
""",
    """
INSERT INTO steps (operation_id, position, verb, state, request_id, begun_at)
VALUES ('1', 1, 'stop', 'planned', NULL, NULL), ('1', 0, 'resume', 'sent', 'req-1', 1000000),
       ('2', 0, 'start', 'planned', NULL, NULL)
""",
)


@DIALECTS
def test_the_steps_of_what_is_under_way_come_along(database: Database) -> None:
    with database.engine.begin() as connection:
        schema.migrate(connection, "0009")
        for statement in PLANNED:
            connection.execute(text(statement))
    schema.upgrade(database)
    store = OperationRepository(database, Clock())
    begun = EPOCH + timedelta(seconds=1)
    resume = Step(Verb.RESUME, StepState.ACCEPTED, "req-1", begun)
    assert store.get("1").steps == (resume, Step(Verb.STOP))
    assert store.get("2").steps == (Step(Verb.START),)
    store.close()
    check_alembic(database)


CLOSED = """
INSERT INTO audit_entries (at, "user", project, address, action, vm_id, operation_id, request_id,
                           outcome, code, position, mac)
VALUES (1772015702501000, 'anonymous', 'default', '192.0.2.1', 'stop', 'vm-1', 'op-1', 'r-1',
        'failed', 'backend_lost', 1,
'5ad7dd5b63d04fe7dee11e2257837f1df5c801d8ce7bd65974cb6b550cb9974e') -- pragma: allowlist secret
"""


@DIALECTS
def test_a_chain_that_an_older_version_has_closed_stays_sound(database: Database) -> None:
    with database.engine.begin() as connection:
        schema.migrate(connection, "0007")
        connection.execute(text(CLOSED))
    schema.upgrade(database)
    trail = AuditRepository(database)
    assert (trail.verify(SECRET).head.position, trail.verify(SECRET).error) == (1, None)
    trail.add(replace(trail.list_newest(AuditQuery(), 1)[0].entry, token_id="token-1"))
    trail.chain_pending(SECRET)
    assert (trail.verify(SECRET).head.position, trail.verify(SECRET).error) == (2, None)
    check_alembic(database)


def names(database: Database) -> set[str]:
    """Return the names of what can be named: tables, indices, constraints."""
    query = "SELECT name FROM sqlite_master"
    if database.engine.dialect.name == "postgresql":
        query = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        query += " UNION SELECT conname FROM pg_constraint WHERE contype <> 'n'"
        query += " AND connamespace = 'public'::regnamespace"
    with database.engine.connect() as connection:
        return set(connection.execute(text(query)).scalars())


@DIALECTS
def test_the_migrations_name_things_as_the_tables_do(database: Database) -> None:
    with database.engine.begin() as connection:
        schema.migrate(connection)
    migrated = {name for name in names(database) if "alembic" not in name}
    with database.engine.begin() as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
    assert {name for name in names(database) if "alembic" not in name} == migrated


def test_the_newest_migration_is_the_one_that_is_wanted() -> None:
    script = ScriptDirectory(str(ROOT / "vmapi/store/migrations"))
    assert script.get_heads() == [schema.HEAD_REVISION]


@DIALECTS
def test_it_may_be_repeated_and_keeps_what_there_is(database: Database) -> None:
    schema.upgrade(database)
    store = OperationRepository(database, Clock())
    store.add(Maker(Clock())("1"))
    schema.upgrade(database)
    assert store.get("1").id == "1"
    store.close()


@DIALECTS
def test_processes_that_migrate_at_once(url: str) -> None:
    with_pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    migrating = [
        subprocess.Popen(
            [sys.executable, "-c", MIGRATE, url],
            cwd=ROOT,
            text=True,
            **with_pipes,  # type: ignore[call-overload]
        )
        for _ in range(3)
    ]
    for each in migrating:
        assert each.stdout.readline() == "ready\n"
    for each in migrating:
        each.stdin.write("\n")
        each.stdin.flush()
    for each in migrating:
        told, complaints = each.communicate(timeout=60)
        assert (told, each.returncode) == (f"{schema.HEAD_REVISION}\n", 0), complaints


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_postgresql_is_migrated_by_command_only(database: Database) -> None:
    store = OperationRepository(database, Clock())
    for _ in range(2):
        with pytest.raises(StoreUnavailable) as caught:
            store.list_leased()
        assert caught.value.detail == (
            f"vmapi's database is empty, {schema.HEAD_REVISION} is needed: "
            "flask --app wsgi db upgrade"
        )
    schema.upgrade(database)
    assert store.list_leased() == []


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_another_version_of_the_schema_is_named(database: Database) -> None:
    schema.upgrade(database)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    with pytest.raises(StoreUnavailable, match=f"at 0000, {schema.HEAD_REVISION} is needed"):
        database.ping()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_sqlite_that_is_locked_for_too_long(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(connections, "LOCK_TIMEOUT", 0.05)
    database, clock = Database(url, THREADS, schema.ensure_current), Clock()
    store, make = OperationRepository(database, clock), Maker(clock)
    store.add(make("1"))
    with store.lease("1", lease_held=True):
        pass
    with database.engine.connect() as hog:
        hog.execute(text("UPDATE operations SET revision = revision"))
        # readers are not in its way
        assert [found.id for found in store.list_leased()] == ["1"]
        with pytest.raises(StoreUnavailable, match="does not answer"):
            store.add(make("2", vm_id="other"))
        with pytest.raises(StoreUnavailable), store.lease("1"):
            pass
    with store.lease("1") as held:
        assert held
    store.add(make("2", vm_id="other"))
    store.close()


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_connections_that_are_cut_are_made_anew(database: Database) -> None:
    schema.upgrade(database)
    store = OperationRepository(database, Clock())
    store.add(Maker(Clock())("1"))
    with database.read() as one:
        others = "FROM pg_stat_activity"
        others += " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        with database.read() as other:
            other.execute(text("SELECT 1"))
        one.execute(text(f"SELECT pg_terminate_backend(pid) {others}"))
        # it is told to end, and takes a moment
        until(lambda: one.execute(text(f"SELECT count(*) {others}")).scalar() == 0)
    assert store.get("1").id == "1"
    store.close()


def test_a_server_that_is_not_there() -> None:
    url = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"
    database = Database(url, 2, schema.ensure_current)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="vmapi's database does not answer"):
            database.ping()
