"""The read cache: repeated reads without a query, and no stale VM after any commit."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from random import Random
from threading import Event

import pytest
from sqlalchemy import Connection, event, text

from tests.support.factories import T0, VM_1
from tests.support.http_client import WAIT_SECONDS
from tests.support.inventory_model import filter_and_sort
from vmapi.concurrency.nonblocking import RepeatableRequest, WouldBlock
from vmapi.domain.lifecycle import Status
from vmapi.domain.pagination import MAX_PAGE_SIZE, PageRequest
from vmapi.domain.vm import VM, VMQuery
from vmapi.store.database import Database
from vmapi.store.inventory import read_cache
from vmapi.store.inventory.repository import InventoryRepository

pytestmark = pytest.mark.parametrize("url", ["sqlite"], indirect=True)

A, B = (replace(VM_1, id=vm_id, name=vm_id) for vm_id in "ab")
BY_NAME = VMQuery(sort="name")


@pytest.fixture
def inventory(database: Database) -> InventoryRepository:
    return new_inventory(database)


@pytest.fixture
def other(connect: Callable[[], Database]) -> InventoryRepository:
    """The inventory as another process uses it."""
    return InventoryRepository(connect())


def new_inventory(database: Database) -> InventoryRepository:
    inventory = InventoryRepository(database)
    observe(inventory, A, B)
    inventory.mark_full_sync(inventory.observation_time())
    return inventory


def observe(inventory: InventoryRepository, *vms: VM) -> None:
    inventory.save_observations(vms, inventory.observation_time())


def listed(inventory: InventoryRepository, query: VMQuery = BY_NAME) -> list[VM]:
    return list(inventory.list_page(query, PageRequest(), T0).vms)


def read(inventory: InventoryRepository, vm_id: str) -> VM | None:
    snapshot = inventory.get(vm_id)
    return snapshot.vm if snapshot else None


@contextmanager
def recorded_statements(database: Database) -> Iterator[list[str]]:
    statements: list[str] = []

    def record(_: object, __: object, statement: str, *___: object) -> None:
        statements.append(statement)

    event.listen(database.engine, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        event.remove(database.engine, "before_cursor_execute", record)


def test_repeated_reads_send_no_query(inventory: InventoryRepository, database: Database) -> None:
    expected = (listed(inventory), read(inventory, "a"))
    with recorded_statements(database) as statements:
        assert (listed(inventory), read(inventory, "a")) == expected == ([A, B], A)
    assert statements == []


def test_own_change_is_read_at_once(inventory: InventoryRepository) -> None:
    assert (listed(inventory), read(inventory, "a")) == ([A, B], A)
    changed = replace(A, metadata={"a": "b"})
    observe(inventory, changed)
    assert (read(inventory, "a"), listed(inventory)) == (changed, [changed, B])


def test_change_of_another_process_is_read_at_once(
    inventory: InventoryRepository, other: InventoryRepository
) -> None:
    assert (listed(inventory), read(inventory, "b")) == ([A, B], B)
    other.mark_deleted("a", T0 + timedelta(1), other.observation_time())
    assert (read(inventory, "a"), listed(inventory), read(inventory, "b")) == (None, [B], B)


def test_sync_mark_lowers_the_age_and_keeps_the_entries(
    inventory: InventoryRepository, other: InventoryRepository, database: Database
) -> None:
    old = inventory.observation_time() - 60_000_000
    with database.write() as connection:
        connection.execute(text("UPDATE vms SET observation_started_at = 1"))
        connection.execute(text("UPDATE sync_state SET started_at = :old"), {"old": old})
    for _ in range(2):
        snapshot, listing = inventory.get("a"), inventory.list_page(BY_NAME, PageRequest(), T0)
        assert snapshot is not None
        assert 60 <= snapshot.age_seconds < 90
        assert 60 <= (listing.age_seconds or 0) < 90
    other.mark_changes_synced(other.observation_time())
    with recorded_statements(database) as statements:
        snapshot, listing = inventory.get("a"), inventory.list_page(BY_NAME, PageRequest(), T0)
    assert snapshot is not None
    assert max(snapshot.age_seconds, listing.age_seconds or 99) < 30
    assert statements == []


def test_purged_events_empty_the_cache(
    inventory: InventoryRepository, other: InventoryRepository, database: Database
) -> None:
    assert (listed(inventory), read(inventory, "a")) == ([A, B], A)
    changed = replace(A, metadata={"a": "b"})
    observe(other, changed)
    with database.write() as connection:
        connection.execute(text("DELETE FROM events WHERE id < (SELECT max(id) FROM events)"))
    observe(other, replace(B, metadata={"b": "c"}))
    with database.write() as connection:
        connection.execute(text("DELETE FROM events WHERE id < (SELECT max(id) FROM events)"))
    assert (read(inventory, "a"), listed(inventory)[0]) == (changed, changed)


def test_page_is_cached_for_a_limited_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_cache, "PAGE_TTL", 0)
    inventory = new_inventory(database)
    assert listed(inventory) == [A, B]
    with recorded_statements(database) as statements:
        assert listed(inventory) == [A, B]
    assert statements


def test_list_of_all_vms_is_not_cached(inventory: InventoryRepository, database: Database) -> None:
    request = PageRequest(page_size=MAX_PAGE_SIZE + 1)
    for _ in range(2):
        with recorded_statements(database) as statements:
            assert list(inventory.list_page(BY_NAME, request, T0).vms) == [A, B]
        assert statements


def test_deleted_vms_leave_a_list_with_time(inventory: InventoryRepository) -> None:
    deleted_at = T0 + timedelta(hours=1)
    inventory.mark_deleted("a", deleted_at, inventory.observation_time())
    query = VMQuery(statuses=frozenset({Status.DELETED}))
    for after, expected in ((deleted_at - timedelta(1), ["a"]), (deleted_at, [])):
        assert [vm.id for vm in inventory.list_page(query, PageRequest(), after).vms] == expected


def test_projects_are_cached_apart(inventory: InventoryRepository) -> None:
    for scope, expected in (("default", [A, B]), ("foreign", []), (None, [A, B])):
        assert list(inventory.list_page(BY_NAME, PageRequest(), T0, scope).vms) == expected
        assert (inventory.get("a", scope) is None) == (scope == "foreign")


@pytest.mark.parametrize("seed", range(3))
def test_random_changes_of_two_processes_are_all_read(
    inventory: InventoryRepository, other: InventoryRepository, seed: int
) -> None:
    random, model = Random(seed), {"a": A, "b": B}
    queries = [BY_NAME, VMQuery(), VMQuery(statuses=frozenset({Status.STOPPED})), VMQuery("x")]
    queries[-1] = VMQuery(name="c*", sort="-name")
    for number in range(120):
        writer, vm_id = random.choice([inventory, other]), random.choice("abcdef")
        vm = model.get(vm_id, replace(VM_1, id=vm_id, name=f"{random.choice('abc')}-{vm_id}"))
        vm = replace(vm, status=random.choice([Status.RUNNING, Status.STOPPED]))
        vm = model[vm_id] = replace(vm, metadata={"n": str(number)})
        observe(writer, vm)
        for reader in (inventory, other):
            query = random.choice(queries)
            assert listed(reader, query) == filter_and_sort(query, model.values())
            read_id = random.choice("abcdef")
            assert read(reader, read_id) == model.get(read_id)


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
        opening = executor.submit(inventory.get, A.id)
        assert connecting.wait(WAIT_SECONDS)
        read = executor.submit(
            RepeatableRequest().serve_without_waiting, lambda: inventory.get(A.id)
        )
        try:
            assert isinstance(read.exception(5), WouldBlock)
        finally:
            may_connect.set()
        assert opening.result() is None
    inventory.close()
