"""The store in a database: SQLite always, PostgreSQL where there is one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.contract.clock import Clock
from tests.contract.databases import THREADS, new_postgresql
from tests.contract.store_suite import Maker, StoreSuite
from vmapi.errors import NameTaken
from vmapi.models.lifecycle import Action
from vmapi.models.vm import CreateSpec
from vmapi.store import schema
from vmapi.store.database import Database
from vmapi.store.operations import OperationStore
from vmapi.store.tables import metadata


class SqlSuite(StoreSuite):
    """What stores in a database do beside what all do. A subclass brings the fixture `url`."""

    @pytest.fixture
    def database(self, url: str) -> Iterator[Database]:
        database = Database(url, THREADS, schema.prepare)
        yield database
        database.close()

    @pytest.fixture
    def store(self, database: Database, clock: Clock) -> Iterator[OperationStore]:
        store = OperationStore(database, clock)
        yield store
        store.close()

    @pytest.fixture
    def other(self, url: str, clock: Clock) -> Iterator[OperationStore]:
        """The store of another process."""
        database = Database(url, THREADS, schema.prepare)
        store = OperationStore(database, clock)
        yield store
        store.close()
        database.close()

    def expire(self, database: Database) -> None:
        """Let every lease run out on the database's clock."""
        with database.write() as connection:
            connection.execute(text("UPDATE operations SET lease_until = lease_until - 10000001"))

    def test_another_process_sees_what_is_kept(
        self, store: OperationStore, other: OperationStore, make: Maker
    ) -> None:
        store.add(make("1"))
        saved = store.save(make.over(store.get("1")))
        assert other.get("1") == saved

    def test_a_lease_is_its_process_own_until_it_has_run_out(
        self, store: OperationStore, other: OperationStore, make: Maker, database: Database
    ) -> None:
        store.add(make("1"))
        with store.lease("1", fresh=True):
            pass
        assert other.mine() == []
        with other.lease("1") as held:
            assert not held
        self.expire(database)
        assert [found.id for found in other.mine()] == ["1"]
        # who was only slow has it still
        assert [found.id for found in store.mine()] == ["1"]
        with other.lease("1") as held:
            assert held
            with store.lease("1") as late:
                assert not late
        assert store.mine() == []

    def test_each_use_renews_a_lease(
        self, store: OperationStore, other: OperationStore, make: Maker, database: Database
    ) -> None:
        store.add(make("1"))
        with store.lease("1", fresh=True):
            pass
        self.expire(database)
        with store.lease("1") as held:
            assert held
        assert other.mine() == []

    def test_who_closes_leaves_what_is_unfinished_to_others(
        self, url: str, clock: Clock, other: OperationStore, make: Maker
    ) -> None:
        database = Database(url, THREADS, schema.prepare)
        store = OperationStore(database, clock)
        store.add(make("1"))
        with store.lease("1", fresh=True):
            pass
        store.close()
        database.close()
        assert [found.id for found in other.mine()] == ["1"]
        with other.lease("1") as held:
            assert held

    def test_who_leaves_it_to_others_gives_each_lease_back(
        self, database: Database, clock: Clock, other: OperationStore, make: Maker
    ) -> None:
        store = OperationStore(database, clock, keeps=False)
        store.add(make("1"))
        assert other.mine() == []
        with store.lease("1", fresh=True) as held:
            assert held
            assert other.mine() == []
        with other.lease("1") as held:
            assert held
        assert [found.id for found in other.mine()] == ["1"]
        with store.lease("1") as held:
            assert not held
        store.close()

    def test_what_another_process_has_ended_is_not_to_be_saved(
        self, store: OperationStore, other: OperationStore, make: Maker
    ) -> None:
        store.add(make("1"))
        other.add(make("2", Action.DELETE))
        assert [found.id for found in store.mine()] == []

    def test_what_a_create_is_to_make_is_not_kept(
        self, store: OperationStore, make: Maker, database: Database
    ) -> None:
        spec = CreateSpec("web", "f", "i", None, {}, b"hunter2", None, ())
        store.add(make("1", Action.CREATE, None, "web", spec=spec))
        store.save(store.get("1"))
        assert store.get("1").spec is None
        with database.read() as connection:
            kept = [
                list(connection.execute(text(f"SELECT * FROM {table}")))
                for table in ("operations", "steps")
            ]
        assert "hunter2" not in str(kept)

    def test_steps_go_with_their_operation(
        self, store: OperationStore, make: Maker, database: Database
    ) -> None:
        operation = make("1")
        store.add(operation)
        store.discard(operation, NameTaken("taken"))
        with database.read() as connection:
            assert connection.execute(text("SELECT count(*) FROM steps")).scalar() == 0


@pytest.fixture(scope="module")
def migrated() -> Iterator[str]:
    with new_postgresql() as url:
        database = Database(url, THREADS, schema.prepare)
        schema.upgrade(database)
        database.close()
        yield url


class TestSqlite(SqlSuite):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/new/vmapi.sqlite3"

    def test_user_data_is_in_no_file(
        self, store: OperationStore, make: Maker, tmp_path: Path
    ) -> None:
        spec = CreateSpec("web", "f", "i", None, {"k": "hunter2"}, b"hunter2", None, ())
        store.add(make("1", Action.CREATE, None, "web-of-files", spec=spec))
        files = [path.read_bytes() for path in (tmp_path / "new").iterdir()]
        assert any(b"web-of-files" in data for data in files)
        assert not any(b"hunter2" in data for data in files)


class TestPostgresql(SqlSuite):
    @pytest.fixture
    def url(self, migrated: str) -> str:
        database = Database(migrated, THREADS, schema.prepare)
        with database.write() as connection:
            connection.execute(text(f"TRUNCATE {', '.join(metadata.tables)}"))
        database.close()
        return migrated
