"""What looks, looks at one moment; what a database cannot do now is StoreUnavailable."""

import pytest
from sqlalchemy import text

from tests.support.operation_factory import OperationFactory
from vmapi.errors import StoreUnavailable
from vmapi.store.database import Database, db_time
from vmapi.store.operations.repository import OperationRepository

COUNT = text("SELECT count(*) FROM operations")
SESSION = "SET SESSION CHARACTERISTICS AS TRANSACTION "


def test_what_looks_twice_sees_the_same(
    store: OperationRepository, make: OperationFactory, database: Database
) -> None:
    with database.snapshot() as connection:
        assert connection.execute(COUNT).scalar() == 0
        store.add(make("1"))
        assert connection.execute(COUNT).scalar() == 0
    with database.snapshot() as connection:
        assert connection.execute(COUNT).scalar() == 1


def test_what_writes_sees_what_others_have_written(
    store: OperationRepository, make: OperationFactory, database: Database
) -> None:
    with database.snapshot() as connection:
        connection.execute(COUNT)
    store.add(make("1"))
    with database.write() as connection:
        assert connection.execute(COUNT).scalar() == 1


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_server_that_only_reads(
    store: OperationRepository, make: OperationFactory, database: Database
) -> None:
    store.add(make("1"))
    with database.engine.begin() as connection:
        connection.execute(text(SESSION + "READ ONLY"))
    try:
        with pytest.raises(StoreUnavailable, match="vmapi's database is read-only now"):
            store.add(make("2", vm_id="other"))
        assert store.get("1").id == "1"
    finally:
        with database.engine.begin() as connection:
            connection.execute(text(SESSION + "READ WRITE"))


@pytest.mark.parametrize(
    ("url", "asked", "waits", "hastens"),
    [
        ("sqlite", "PRAGMA synchronous", 2, 1),
        ("postgresql", "SHOW synchronous_commit", "on", "off"),
    ],
    indirect=["url"],
)
def test_only_who_is_in_haste_does_not_wait_for_the_disk(
    database: Database, asked: str, waits: object, hastens: object
) -> None:
    def found(*, durable: bool) -> object:
        with database.write(durable=durable) as connection:
            return connection.execute(text(asked)).scalar()

    # more often than a statement has to be sent to be prepared by the server
    assert {found(durable=False) for _ in range(12)} == {hastens}
    assert found(durable=True) == waits
    assert found(durable=False) == hastens


def test_clock_moves_between_two_statements(database: Database) -> None:
    with database.read() as connection:
        times = [db_time(connection) for _ in range(50)]
    # otherwise an observation could begin and end at the same time as another
    assert times == sorted(set(times))
