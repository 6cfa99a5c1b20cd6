"""Timeout tests: no wait for a lock, a peer or an abandoned transaction is endless."""

import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, make_url, text

from tests.support.blocking_source import wait_until
from tests.support.databases import THREADS
from tests.support.operation_factory import OperationFactory
from vmapi.domain.lifecycle import Action
from vmapi.errors import StoreUnavailable
from vmapi.store import schema, schema_version
from vmapi.store.connections import engine_setup
from vmapi.store.database import Database, advisory_lock
from vmapi.store.operations.repository import OperationRepository
from vmapi.store.vm_locks import lock_vms

OTHERS = pytest.mark.parametrize("url", ["postgresql"], indirect=True)
WAITING = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE wait_event = 'advisory' AND datname = current_database()"
)


def row(connection: Connection) -> None:
    connection.execute(text("UPDATE operations SET revision = revision"))


def key(connection: Connection) -> None:
    lock_vms(connection, ["vm"])


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_setup, "LOCK_TIMEOUT", 0.3)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("hold", [row, key])
def test_wait_for_a_lock_has_a_limit(
    database: Database,
    other: OperationRepository,
    make: OperationFactory,
    hold: Callable[[Connection], None],
) -> None:
    other.add(make("1"))
    change = {
        row: lambda: other.save(other.get("1")),
        key: lambda: other.add(make("2", Action.DELETE)),
    }[hold]
    with database.write() as connection:
        hold(connection)
        with pytest.raises(StoreUnavailable, match="vmapi's database does not answer"):
            change()
    change()


@OTHERS
def test_abandoned_transaction_releases_its_locks(
    connect: Callable[[], Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = connect()
    monkeypatch.setattr(engine_setup, "IDLE_IN_TRANSACTION_TIMEOUT", 0.3)
    gone = connect()

    def hang() -> None:
        with gone.write() as connection:
            advisory_lock(connection, "vm")
            with other.write() as waiting:
                advisory_lock(waiting, "vm")

    with pytest.raises(StoreUnavailable):
        hang()
    gone.ping()


@OTHERS
@pytest.mark.usefixtures("impatient")
def test_wait_for_a_migration_has_no_limit(
    connect: Callable[[], Database], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_setup, "IDLE_IN_TRANSACTION_TIMEOUT", 3.0)
    database.ping()
    monkeypatch.setattr(schema_version, "HEAD_REVISION", "9999")
    done: list[str] = []

    def migrate(connection: Connection) -> None:
        # at work, with nothing to say to the database
        with database.read() as clock:
            clock.execute(text("SELECT pg_sleep(3.5)"))
        done.append(str(connection.execute(text("SELECT 'done'")).scalar()))

    monkeypatch.setattr(schema, "migrate", migrate)
    with ThreadPoolExecutor(1) as pool:
        with database.engine.begin() as connection:
            connection.exec_driver_sql(schema.DISABLE_TIMEOUTS)
            connection.execute(text(f"SELECT pg_advisory_xact_lock({schema.MIGRATION_LOCK_ID})"))
            second = pool.submit(schema.upgrade, connect())
            with database.read() as onlooker:
                wait_until(lambda: onlooker.execute(WAITING).scalar() == 1)
                # longer than a wait for another lock lasts
                onlooker.execute(text("SELECT pg_sleep(0.5)"))
        second.result()
    assert done == ["done"]


@OTHERS
def test_silent_peer_is_probed(database: Database) -> None:
    with database.read() as connection:
        assert connection.execute(text("SHOW tcp_keepalives_idle")).scalar() == "10"
        raw = connection.connection.dbapi_connection
        assert raw is not None
        with socket.socket(fileno=os.dup(raw.fileno())) as line:
            expected = [
                (socket.SO_KEEPALIVE, 1, socket.SOL_SOCKET),
                (socket.TCP_KEEPIDLE, 10, socket.IPPROTO_TCP),
                (socket.TCP_KEEPINTVL, 3, socket.IPPROTO_TCP),
                (socket.TCP_KEEPCNT, 3, socket.IPPROTO_TCP),
                (socket.TCP_USER_TIMEOUT, 10_000, socket.IPPROTO_TCP),
            ]
            assert [line.getsockopt(level, name) for name, _, level in expected] == [
                value for _, value, _ in expected
            ]


@OTHERS
@pytest.mark.parametrize("by_environment", [False, True])
def test_options_of_the_url_and_environment_take_precedence(
    url: str, monkeypatch: pytest.MonkeyPatch, *, by_environment: bool
) -> None:
    options = "-csearch_path=pg_catalog -c lock_timeout=7s"
    options_url = make_url(url).update_query_dict({"keepalives_idle": "20"})
    if by_environment:
        monkeypatch.setenv("PGOPTIONS", options)
    else:
        options_url = options_url.update_query_dict({"options": options})
    shown = options_url.render_as_string(hide_password=False)
    database = Database(shown, THREADS, lambda _: None)
    with database.read() as connection:
        names = ("search_path", "lock_timeout", "idle_in_transaction_session_timeout")
        values = [connection.execute(text(f"SHOW {name}")).scalar() for name in names]
        raw = connection.connection.dbapi_connection
        assert raw is not None
        with socket.socket(fileno=os.dup(raw.fileno())) as line:
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 20
    database.close()
    assert values == ["pg_catalog", "7s", "1min"]
