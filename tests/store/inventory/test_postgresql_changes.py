"""Changes of PostgreSQL: none is missed, in whatever order transactions commit."""

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, text

from tests.support.factories import VM_1
from tests.support.query_plans import copy_rows
from vmapi.domain.observation import Observation
from vmapi.store.database import Database
from vmapi.store.inventory import observations, postgresql_changes
from vmapi.store.inventory.changes import Changes
from vmapi.store.inventory.postgresql_changes import PostgresqlChangeReader
from vmapi.store.tables import events, vms

pytestmark = pytest.mark.parametrize("url", ["postgresql"], indirect=True)

ANSWER_SECONDS = 60.0
SIZE = 20_000


def change(connection: Connection, vm_id: str, name: str = "web") -> None:
    observations.apply(connection, Observation(2**62, [replace(VM_1, id=vm_id, name=name)]))


def check(reader: PostgresqlChangeReader) -> Changes | None:
    """Return the changes since the last check; None if they are unknown."""
    reader.send()
    assert reader.receive(ANSWER_SECONDS)
    return reader.read_changes() if reader.has_changes else {}


def changed_ids(reader: PostgresqlChangeReader) -> set[str] | None:
    changes = check(reader)
    return None if changes is None else set(changes)


def newest_event_id(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(text("SELECT max(id) FROM events")).scalar_one())


@pytest.fixture
def other(connect: Callable[[], Database]) -> Database:
    return connect()


@pytest.fixture
def reader(database: Database, other: Database) -> Iterator[PostgresqlChangeReader]:
    """A settled reader: the inventory has one VM."""
    with other.write() as connection:
        change(connection, "first")
    reader = PostgresqlChangeReader(database)
    with database.reading():
        reader.connect()
        assert check(reader) is None
        assert reader.is_settled
        assert changed_ids(reader) == set()
        yield reader
    reader.close()


def test_change_comes_with_its_vm(reader: PostgresqlChangeReader, other: Database) -> None:
    with other.write() as connection:
        change(connection, "a", "new")
    changes = check(reader)
    assert changes is not None
    changed = changes["a"]
    assert changed is not None
    assert (changed.indexed.name, changed.decode().name) == ("new", "new")
    assert changed_ids(reader) == set()


def test_younger_transaction_that_commits_first_hides_no_change(
    reader: PostgresqlChangeReader, other: Database
) -> None:
    with other.write() as older:
        change(older, "older")
        with other.write() as younger:
            change(younger, "younger")
        assert changed_ids(reader) == {"younger"}
        # as long as it takes
        for number in range(3):
            with other.write() as another:
                change(another, f"another-{number}")
            assert changed_ids(reader) == {f"another-{number}"}
    assert changed_ids(reader) == {"older"}
    assert changed_ids(reader) == set()


def test_reader_waits_for_the_transaction_that_began_last_and_has_the_first_event_id(
    reader: PostgresqlChangeReader, other: Database
) -> None:
    with other.write() as older, other.write() as younger:
        # the order of the transactions, then that of the events
        older.execute(text("UPDATE vms SET revision = revision"))
        change(younger, "younger")
        change(older, "older")
        older.commit()
        assert changed_ids(reader) == {"older"}
        with other.write() as another:
            change(another, "another")
        assert changed_ids(reader) == {"another"}
    assert changed_ids(reader) == {"younger"}


def test_reader_stops_asking_for_the_event_of_a_transaction_that_was_rolled_back(
    reader: PostgresqlChangeReader, other: Database
) -> None:
    with other.engine.connect() as older:
        transaction = older.begin()
        change(older, "older")
        with other.write() as younger:
            change(younger, "younger")
        assert changed_ids(reader) == {"younger"}
        transaction.rollback()
    # its writer has ended; the query after that is the last
    for _ in range(3):
        commit_without_event(other)
        assert changed_ids(reader) == set()
    assert not reader.has_changes


def commit_without_event(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("SELECT pg_current_xact_id()"))


def test_transaction_without_events_delays_nothing(
    reader: PostgresqlChangeReader, database: Database, other: Database
) -> None:
    new_reader = PostgresqlChangeReader(database)
    with database.reading(), other.write() as unrelated:
        unrelated.execute(text("UPDATE vms SET revision = revision"))
        new_reader.connect()
        assert check(new_reader) is None
        assert new_reader.is_settled
        with other.engine.connect() as rolled_back:
            change(rolled_back, "rolled back")
        with other.write() as connection:
            change(connection, "web")
        assert changed_ids(reader) == {"web"}
        for _ in range(3):
            commit_without_event(other)
            assert changed_ids(reader) == set()
        assert not reader.has_changes
    new_reader.close()


def test_reader_is_settled_when_transactions_that_were_in_progress_have_ended(
    database: Database, other: Database
) -> None:
    reader = PostgresqlChangeReader(database)
    with database.reading():
        with other.write() as older:
            change(older, "older")
            with other.write() as younger:
                change(younger, "younger")
            reader.connect()
            for _ in range(2):
                check(reader)
                assert not reader.is_settled
        check(reader)
        assert reader.is_settled
    reader.close()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM events WHERE id <= {newest}",
        "DELETE FROM events WHERE id >= {newest}",
        "SELECT setval('events_id_seq', {newest} + 100000)",
    ],
)
def test_changes_are_unknown_after_a_purge_or_a_restore(
    reader: PostgresqlChangeReader, other: Database, statement: str
) -> None:
    newest = newest_event_id(other)
    with other.write() as connection:
        connection.execute(text(statement.format(newest=newest)))
        change(connection, "a")
    assert check(reader) is None
    assert not reader.is_settled
    # the next check begins again
    assert check(reader) is None
    with other.write() as connection:
        change(connection, "b")
    assert changed_ids(reader) == {"b"}
    assert reader.is_settled


def test_changes_are_unknown_after_a_long_pause(
    reader: PostgresqlChangeReader, other: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with other.write() as connection:
        change(connection, "a")
    monkeypatch.setattr(postgresql_changes, "MAX_PAUSE_US", -1)
    assert check(reader) is None


def test_many_changes_at_once_are_unknown(
    reader: PostgresqlChangeReader, other: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_changes, "MAX_MISSING_EVENTS", 2)
    with other.engine.connect() as older:
        transaction = older.begin()
        for number in range(3):
            change(older, f"{number}")
        with other.write() as younger:
            change(younger, "younger")
        assert check(reader) is None
        transaction.rollback()


def test_connection_that_the_server_has_ended_is_closed_without_a_log_line(
    reader: PostgresqlChangeReader, other: Database, caplog: pytest.LogCaptureFixture
) -> None:
    others = "pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with other.read() as connection:
        connection.execute(text(f"SELECT pg_terminate_backend(pid, 10000) FROM {others}"))
    with pytest.raises(psycopg.OperationalError, match="terminat"):
        check(reader)
    reader.close()
    assert caplog.messages == []


def test_check_reads_no_table_in_full(reader: PostgresqlChangeReader, other: Database) -> None:
    copy_rows(other, events, [{"id": number} for number in range(100, SIZE)])
    copy_rows(other, vms, [{"id": f"{number}"} for number in range(SIZE)])
    for name, parameters in (("vmapi_check", ""), ("vmapi_changes", f"({SIZE - 9}, '{{7,8}}')")):
        statement, types = reader.statements[name.encode()]
        with other.read() as connection:
            connection.exec_driver_sql("SET plan_cache_mode TO force_generic_plan")
            declared = "(bigint, bigint[])" if types else ""
            connection.exec_driver_sql(f"PREPARE {name}{declared} AS {statement}")
            rows = connection.exec_driver_sql(f"EXPLAIN EXECUTE {name}{parameters}")
            plan = "\n".join(rows.scalars())
            connection.exec_driver_sql("DISCARD ALL")
        assert "using pk_events" in plan, plan
        for table in ("events", "vms"):
            assert f"Seq Scan on {table}" not in plan, plan


def shrink_send_buffer(connection: Connection) -> Connection:
    driver_connection: Any = connection.connection.dbapi_connection
    with socket.socket(fileno=os.dup(driver_connection.pgconn.socket)) as shared:
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    return connection


def test_list_of_missing_ids_may_exceed_the_buffer_of_the_socket(
    database: Database, other: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with other.write() as connection:
        change(connection, "first")
    connect = database.connect_detached
    monkeypatch.setattr(database, "connect_detached", lambda: shrink_send_buffer(connect()))
    reader = PostgresqlChangeReader(database)
    with database.reading():
        reader.connect()
        assert check(reader) is None
        sequence = "SELECT nextval('events_id_seq') FROM generate_series(1, 4900)"
        with other.write() as older:
            change(older, "older")
            with other.write() as younger:
                younger.execute(text(sequence))
                change(younger, "younger")
            assert changed_ids(reader) == {"younger"}
        assert changed_ids(reader) == {"older"}
    reader.close()
