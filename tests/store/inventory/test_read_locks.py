"""Reads of the inventory in a thread that must not wait."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event

import pytest
from sqlalchemy import Connection

from tests.support.http_client import WAIT_SECONDS
from vmapi.concurrency.bulkhead import begin_request
from vmapi.concurrency.nonblocking import RepeatableRequest, WouldBlock
from vmapi.store.database import Database
from vmapi.store.inventory.repository import InventoryRepository


def read_without_waiting(inventory: InventoryRepository) -> None:
    def read() -> None:
        begin_request()
        inventory.get("a")

    RepeatableRequest().serve_without_waiting(read)


def test_thread_that_must_not_wait_leaves_a_thread_alone_that_opens_the_database(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory = InventoryRepository(database)
    connect, connecting, may_connect = database.connect_detached, Event(), Event()

    def connect_slowly() -> Connection:
        connecting.set()
        assert may_connect.wait(WAIT_SECONDS)
        return connect()

    monkeypatch.setattr(database, "connect_detached", connect_slowly)
    with ThreadPoolExecutor(2) as executor:
        opening = executor.submit(inventory.get, "a")
        assert connecting.wait(WAIT_SECONDS)
        read = executor.submit(read_without_waiting, inventory)
        try:
            assert isinstance(read.exception(5), WouldBlock)
        finally:
            may_connect.set()
        assert opening.result() is None
    inventory.close()


def test_check_in_a_thread_that_must_not_wait_limits_the_wait_for_a_lock(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL locks no reader out")
    connections: list[Connection] = []
    connect = database.connect_detached
    monkeypatch.setattr(
        database, "connect_detached", lambda: connections.append(connect()) or connections[-1]
    )
    inventory = InventoryRepository(database)
    for _ in range(2):
        inventory.get("a")
    with suppress(WouldBlock):
        read_without_waiting(inventory)
    (connection,) = connections
    assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() <= 2
    inventory.close()
