"""The first lists of a process: all rows are read once, and only if they can be cached."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from threading import Barrier, Event, current_thread, main_thread
from typing import Any

import pytest
from sqlalchemy import event, text

from tests.support.factories import T0, VM_1
from vmapi.domain.pagination import PageRequest
from vmapi.domain.vm import VM, VMQuery
from vmapi.store.database import Database
from vmapi.store.inventory import repository
from vmapi.store.inventory.change_checker import ChangeChecker
from vmapi.store.inventory.repository import InventoryRepository
from vmapi.store.inventory.vm_index import VMIndex

TIMEOUT_SECONDS = 30.0
ALL = VMQuery()


@pytest.fixture
def inventory(database: Database) -> InventoryRepository:
    inventory = InventoryRepository(database)
    observe(inventory, VM_1)
    return inventory


class IndexLoads:
    """Loads of the index: `on_load` runs after the rows are read."""

    def __init__(self) -> None:
        self.count = 0
        self.on_load: Callable[[], object] = lambda: None

    def build(self, rows: Iterable[Sequence[Any]]) -> VMIndex:
        self.count += 1
        index = VMIndex(rows)
        self.on_load()
        return index


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> IndexLoads:
    loads = IndexLoads()
    monkeypatch.setattr(repository, "VMIndex", loads.build)
    return loads


def listed(inventory: InventoryRepository, query: VMQuery = ALL) -> list[VM]:
    return list(inventory.list_page(query, PageRequest(), T0).vms)


def observe(inventory: InventoryRepository, vm: VM) -> None:
    inventory.save_observations([vm], inventory.observation_time())


def read_total(inventory: InventoryRepository) -> int:
    """Return the total of a list of which one VM is read."""
    return inventory.list_page(VMQuery(sort="name"), PageRequest(page_size=1), T0).page.total


def test_first_lists_that_arrive_together_read_all_rows_once(
    inventory: InventoryRepository, loads: IndexLoads, monkeypatch: pytest.MonkeyPatch
) -> None:
    check, both_have_checked, checks = ChangeChecker.check, Barrier(2), count()

    def check_together(self: ChangeChecker) -> None:
        check(self)
        if next(checks) < both_have_checked.parties:
            both_have_checked.wait(TIMEOUT_SECONDS)

    monkeypatch.setattr(ChangeChecker, "check", check_together)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(listed, [inventory] * 2)) == [[VM_1]] * 2
    assert loads.count == 1


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_list_reads_no_other_rows_while_a_transaction_with_events_is_open(
    inventory: InventoryRepository,
    loads: IndexLoads,
    database: Database,
    connect: Callable[[], Database],
) -> None:
    new_process = InventoryRepository(connect())
    with database.write() as connection:
        connection.execute(text("DELETE FROM events WHERE id = 0"))
        assert listed(new_process) == [VM_1]
        assert not loads.count
    assert listed(new_process) == [VM_1]
    assert loads.count == 1


def test_no_read_waits_while_the_index_loads(
    inventory: InventoryRepository, loads: IndexLoads
) -> None:
    changed = replace(VM_1, name="changed")
    reads: list[object] = []

    def read_and_change() -> None:
        reads.extend([inventory.get(VM_1.id), listed(inventory)])
        observe(inventory, changed)
        reads.append(listed(inventory))

    with ThreadPoolExecutor(1) as pool:
        loads.on_load = lambda: pool.submit(read_and_change).result(TIMEOUT_SECONDS)
        # the rows are older than the change
        assert listed(inventory) == [changed]
    assert reads[1:] == [[VM_1], [changed]]
    assert listed(inventory, VMQuery(name="changed")) == [changed]
    assert loads.count == 1


def test_index_that_has_missed_changes_is_not_used(
    inventory: InventoryRepository, loads: IndexLoads, database: Database
) -> None:
    changed = replace(VM_1, metadata={"a": "b"})

    def lose_changes() -> None:
        observe(inventory, changed)
        with database.write() as connection:
            connection.execute(text("DELETE FROM events"))
        inventory.get(VM_1.id)

    loads.on_load = lose_changes
    assert listed(inventory) == [changed]
    loads.on_load = lambda: None
    assert listed(inventory) == [changed]
    assert loads.count == 2


def run_before_load(database: Database, action: Callable[[], object]) -> None:
    """Run an action before each load of the index reads the rows."""

    def on_statement(_: object, __: object, statement: str, *___: object) -> None:
        if "AS metadata" in statement and statement.endswith("WHERE vms.deleted_at IS NULL"):
            action()

    event.listen(database.engine, "before_cursor_execute", on_statement)


def test_no_other_read_uses_an_index_with_two_states(
    inventory: InventoryRepository, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted, created = (replace(VM_1, id=number, name=f"x{number}") for number in "23")
    check, has_checked, is_loaded = ChangeChecker.check, Event(), Event()
    other_totals: list[Future[int]] = []

    def check_in_order(self: ChangeChecker) -> None:
        if current_thread() is main_thread() and other_totals:
            is_loaded.set()
            other_totals[0].result(TIMEOUT_SECONDS)
        check(self)
        if current_thread() is not main_thread():
            has_checked.set()
            is_loaded.wait(TIMEOUT_SECONDS)

    def change_before_load() -> None:
        observe(inventory, replace(deleted, name="z"))
        inventory.get(VM_1.id)
        other_totals.append(pool.submit(read_total, inventory))
        has_checked.wait(TIMEOUT_SECONDS)
        inventory.mark_deleted("2", T0, inventory.observation_time())
        observe(inventory, created)

    observe(inventory, deleted)
    inventory.get(VM_1.id)
    monkeypatch.setattr(ChangeChecker, "check", check_in_order)
    run_before_load(database, change_before_load)
    with ThreadPoolExecutor(1) as pool:
        assert (listed(inventory), other_totals[0].result()) == ([created, VM_1], 2)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_age_of_a_page_is_not_that_of_a_later_sync(
    inventory: InventoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory.mark_full_sync(inventory.observation_time() - 60_000_000)
    listed(inventory)
    find = VMIndex.find

    def sync_and_find(*arguments: Any) -> Any:
        inventory.mark_changes_synced(inventory.observation_time())
        with ThreadPoolExecutor(1) as pool:
            pool.submit(inventory.get_many, [VM_1.id]).result(TIMEOUT_SECONDS)
        return find(*arguments)

    monkeypatch.setattr(VMIndex, "find", sync_and_find)
    listing = inventory.list_page(VMQuery(sort="name"), PageRequest(), T0)
    assert (listing.age_seconds or 0) >= 60
