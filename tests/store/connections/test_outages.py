"""Outages of the database: one warning with the driver's words, and one line at the end."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs
from structlog.typing import EventDict

from tests.support.databases import THREADS, new_postgresql
from vmapi.errors import StoreUnavailable
from vmapi.store import schema
from vmapi.store.connections.outages import OUTAGE_SETTLE_SECONDS, OutageReporter, url_secrets
from vmapi.store.database import Database
from vmapi.store.tables import metadata

POSTGRESQL = pytest.mark.parametrize("url", ["postgresql"], indirect=True)
PASSWORD = "p@ss/w:rd 1"  # pragma: allowlist secret
SET_READ_ONLY = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"


class Stopwatch:
    """A monotonic clock that a test sets."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def fail(reporter: OutageReporter, *, writes: bool = False) -> None:
    with pytest.raises(StoreUnavailable), reporter.watch(writes=writes):
        raise StoreUnavailable("away", reason="no route")


def succeed(reporter: OutageReporter, *, writes: bool = False) -> None:
    with reporter.watch(writes=writes):
        pass


def lines(logs: list[EventDict]) -> list[tuple[str, str]]:
    return [(line["log_level"], line["event"]) for line in logs]


def test_outage_is_logged_when_it_begins_and_when_it_is_over() -> None:
    clock = Stopwatch()
    reporter = OutageReporter(monotonic=clock)
    with capture_logs() as logs:
        succeed(reporter)
        for clock.seconds in (10, 11, 14):
            fail(reporter)
        # a disk that is almost full refuses some writes
        clock.seconds += OUTAGE_SETTLE_SECONDS - 1
        succeed(reporter)
        fail(reporter)
        assert lines(logs) == [("warning", "database unavailable")]
        assert logs[0]["reason"] == "no route"
        clock.seconds += OUTAGE_SETTLE_SECONDS
        for _ in range(2):
            succeed(reporter)
    assert lines(logs)[1:] == [("info", "database available again")]
    assert (logs[1]["failures"], logs[1]["duration_seconds"]) == (4, 13.0)


def test_outage_of_writes_ends_with_a_write() -> None:
    clock = Stopwatch()
    reporter = OutageReporter(monotonic=clock)
    with capture_logs() as logs:
        fail(reporter, writes=True)
        clock.seconds = 60
        succeed(reporter)
        assert reporter.blocks_writes
        succeed(reporter, writes=True)
    assert lines(logs) == [
        ("warning", "database unavailable"),
        ("info", "database available again"),
    ]
    assert not reporter.blocks_writes


def test_conflict_is_no_outage() -> None:
    reporter = OutageReporter()
    conflict = IntegrityError("INSERT", None, Exception("UNIQUE constraint failed"))
    with capture_logs() as logs, pytest.raises(IntegrityError), reporter.watch(writes=True):
        raise conflict
    assert logs == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://u:p%40ss%2Fw%3Ard%201@127.0.0.1/n",  # pragma: allowlist secret
        "postgresql+psycopg://u@127.0.0.1/n?password=p%40ss%2Fw%3Ard%201",
    ],
)
def test_secrets_of_a_url_are_found_in_every_form(url: str) -> None:
    secrets = url_secrets(make_url(url))
    assert {PASSWORD, "p%40ss%2Fw%3Ard%201", "p%40ss%2Fw%3Ard+1"} <= set(secrets)


def test_unreachable_server_is_named_without_the_password() -> None:
    url = "postgresql+psycopg://u:hunter2@127.0.0.1:1/hunter2"
    database = Database(url, 2, schema.ensure_current)
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                database.ping()
    assert lines(logs) == [("warning", "database unavailable")]
    assert "port 1 failed: Connection refused" in logs[0]["reason"]
    assert "hunter2" not in str(logs)


@contextmanager
def role_without_login(database: Database) -> Iterator[str]:
    with database.engine.begin() as connection:
        connection.execute(text("CREATE ROLE vmapi_guest LOGIN CONNECTION LIMIT 0"))
    try:
        yield "vmapi_guest"
    finally:
        with database.engine.begin() as connection:
            connection.execute(text("DROP ROLE vmapi_guest"))


@POSTGRESQL
def test_too_many_clients_are_named(database: Database, url: str) -> None:
    with role_without_login(database) as role, capture_logs() as logs:
        guest = Database(
            make_url(url).set(username=role).render_as_string(), 2, schema.ensure_current
        )
        with pytest.raises(StoreUnavailable, match="does not answer"):
            guest.ping()
        guest.close()
    assert lines(logs) == [("warning", "database unavailable")]
    assert f'too many connections for role "{role}"' in logs[0]["reason"]


@pytest.fixture
def own_postgresql() -> Iterator[Database]:
    """A PostgreSQL database that the test may damage."""
    with new_postgresql() as url:
        database = Database(url, THREADS, schema.ensure_current)
        schema.upgrade(database)
        database.ping()
        yield database
        database.close()


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE signing_keys",
        "DROP SCHEMA public CASCADE",
        "ALTER TABLE signing_keys DROP COLUMN key",
    ],
)
def test_lost_tables_are_unavailable(own_postgresql: Database, statement: str) -> None:
    with own_postgresql.engine.begin() as connection:
        connection.exec_driver_sql(statement)
    with capture_logs() as logs:
        for _ in range(2):
            with (
                pytest.raises(StoreUnavailable, match="does not have the tables of vmapi"),
                own_postgresql.read() as connection,
            ):
                connection.execute(metadata.tables["signing_keys"].select())
    assert lines(logs) == [("warning", "database unavailable")]
    assert "does not exist" in logs[0]["reason"]


@POSTGRESQL
def test_ping_reports_a_database_that_refuses_writes(database: Database) -> None:
    database.ping()
    with database.engine.begin() as connection:
        connection.execute(text(SET_READ_ONLY))
    with capture_logs() as logs:
        database.ping()
        with pytest.raises(StoreUnavailable), database.write() as connection:
            connection.execute(metadata.tables["leader_leases"].delete())
        with pytest.raises(StoreUnavailable, match="read-only"):
            database.ping()
    assert lines(logs) == [("warning", "database unavailable")]
    with database.engine.begin() as connection:
        connection.execute(text(SET_READ_ONLY.replace("ONLY", "WRITE")))
    database.ping()
