"""Database tests: isolation, durability, clock and read-only servers."""

import pytest
from sqlalchemy import text

from tests.support.metrics import RecordedMetrics
from tests.support.operation_factory import OperationFactory
from vmapi.concurrency import bulkhead
from vmapi.concurrency.nonblocking import RepeatableRequest, WouldBlock
from vmapi.errors import StoreUnavailable
from vmapi.store.clock import db_time
from vmapi.store.database import Database
from vmapi.store.operations.repository import OperationRepository

COUNT = text("SELECT count(*) FROM operations")
SESSION = "SET SESSION CHARACTERISTICS AS TRANSACTION "


def test_snapshot_reads_one_state(
    store: OperationRepository, make: OperationFactory, database: Database
) -> None:
    with database.snapshot() as connection:
        assert connection.execute(COUNT).scalar() == 0
        store.add(make("1"))
        assert connection.execute(COUNT).scalar() == 0
    with database.snapshot() as connection:
        assert connection.execute(COUNT).scalar() == 1


def test_write_sees_the_commits_of_others(
    store: OperationRepository, make: OperationFactory, database: Database
) -> None:
    with database.snapshot() as connection:
        connection.execute(COUNT)
    store.add(make("1"))
    with database.write() as connection:
        assert connection.execute(COUNT).scalar() == 1


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_standby_raises_store_unavailable_for_writes(
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
    ("url", "query", "durable_mode", "fast_mode"),
    [
        ("sqlite", "PRAGMA synchronous", 2, 1),
        ("postgresql", "SHOW synchronous_commit", "on", "off"),
    ],
    indirect=["url"],
)
def test_only_a_non_durable_commit_skips_the_wait_for_the_disk(
    database: Database, query: str, durable_mode: object, fast_mode: object
) -> None:
    def read_mode(*, durable: bool) -> object:
        with database.write(durable=durable) as connection:
            return connection.execute(text(query)).scalar()

    # more often than a statement has to be sent to be prepared by the server
    assert {read_mode(durable=False) for _ in range(12)} == {fast_mode}
    assert read_mode(durable=True) == durable_mode
    assert read_mode(durable=False) == fast_mode


def test_clock_moves_between_two_statements(database: Database) -> None:
    times = []
    with database.read() as connection:
        for _ in range(50):
            times.append(db_time(connection))
            connection.execute(text("SELECT 1"))
    # otherwise an observation could begin and end at the same time as another
    assert times == sorted(set(times))


def test_transactions_are_counted_by_kind_and_outcome(
    database: Database, metrics: RecordedMetrics
) -> None:
    with database.read() as connection:
        connection.execute(COUNT)
    with database.snapshot() as connection:
        connection.execute(COUNT)
    with pytest.raises(KeyError), database.write():
        raise KeyError
    samples = metrics.read()
    for kind, outcome in (("read", "done"), ("snapshot", "done"), ("write", "failed")):
        name = "vmapi_database_transaction_duration_seconds_count"
        assert samples.sum(name, kind=kind, outcome=outcome) == 1
    assert samples.sum(name) == 3


def test_transaction_that_another_thread_repeats_is_not_counted(
    database: Database, metrics: RecordedMetrics
) -> None:
    def read() -> None:
        bulkhead.begin_request()
        with database.read() as connection:
            connection.execute(COUNT)

    request = RepeatableRequest()
    with pytest.raises(WouldBlock):
        request.serve_without_waiting(read)
    request.serve_again(read)
    assert metrics.sum("vmapi_database_transaction_duration_seconds_count") == 1
