"""The read cache: repeated reads without a query, and no stale VM after any commit."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import count
from random import Random

import pytest
from sqlalchemy import text

from tests.support.factories import T0, VM_1
from tests.support.inventory_model import filter_and_sort
from tests.support.recorded_statements import recorded_statements
from vmapi.domain.lifecycle import Status
from vmapi.domain.pagination import MAX_PAGE_SIZE, PageRequest
from vmapi.domain.selector import parse_selector
from vmapi.domain.vm import VM, VMQuery
from vmapi.store.database import Database
from vmapi.store.inventory import read_cache, vm_index
from vmapi.store.inventory.repository import InventoryRepository

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


def test_change_of_one_vm_costs_no_query(
    inventory: InventoryRepository, other: InventoryRepository, database: Database
) -> None:
    first = inventory.list_page(BY_NAME, PageRequest(), T0).page
    changed, created = replace(A, metadata={"a": "b"}), replace(A, id="c", name="c")
    observe(other, changed, created)
    with recorded_statements(database) as statements:
        assert listed(inventory) == [changed, B, created]
        assert (read(inventory, "a"), read(inventory, "c")) == (changed, created)
    assert statements == []
    assert listed(inventory)[1] is first.items[1]


def test_page_without_a_changed_vm_is_rendered_once(
    inventory: InventoryRepository, other: InventoryRepository
) -> None:
    query = VMQuery(name="b")
    first = inventory.list_page(query, PageRequest(), T0).page
    observe(other, replace(A, metadata={"a": "b"}))
    assert inventory.list_page(query, PageRequest(), T0).page is first
    observe(other, replace(A, name="b", metadata={"a": "b"}))
    assert len(listed(inventory, query)) == 2


def test_vms_of_a_page_that_are_not_cached_are_read_once(
    inventory: InventoryRepository, database: Database
) -> None:
    read(inventory, "a")
    with recorded_statements(database) as statements:
        assert listed(inventory) == [A, B]
        assert read(inventory, "b") is listed(inventory)[1]
    # the index, and the VM
    assert len(statements) == 2


def test_page_with_more_vms_than_the_cache_is_complete(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_cache, "MAX_CACHED_VMS", 1)
    inventory = new_inventory(database)
    assert [listed(inventory) for _ in range(2)] == [[A, B]] * 2


def test_changed_vm_is_cached_longer_than_older_ones(
    inventory: InventoryRepository,
    other: InventoryRepository,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(read_cache, "MAX_CACHED_AGE", 60)
    monkeypatch.setattr(read_cache, "MAX_CACHED_VMS", 2)
    read(inventory, "a"), read(inventory, "b")
    changed, created = replace(A, metadata={"a": "b"}), replace(A, id="c", name="c")
    observe(other, changed)
    observe(other, created)
    with recorded_statements(database) as statements:
        assert (read(inventory, "a"), read(inventory, "c")) == (changed, created)
    assert statements == []


def test_row_that_cannot_be_decoded_fails_no_other_read(
    inventory: InventoryRepository,
    other: InventoryRepository,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(read_cache, "MAX_CACHED_AGE", 60)
    # more than a few VMs: their selectors have views
    monkeypatch.setattr(vm_index, "MAX_SORTED_VMS", 0)
    unlabelled = VMQuery(sort="name", selector=parse_selector("!a"))
    assert listed(inventory, unlabelled) == [A, B]
    observe(other, replace(A, metadata={"a": "b"}))
    with database.write() as connection:
        connection.execute(text("UPDATE vms SET observed = '{}', name = 'x' WHERE id = 'a'"))
    with recorded_statements(database) as statements:
        assert read(inventory, "b") == B
        assert listed(inventory, VMQuery(name="b")) == [B]
        selected = VMQuery(sort="name", selector=parse_selector("!a"), name="b")
        assert listed(inventory, selected) == [B]
    assert statements == []
    with pytest.raises(KeyError):
        read(inventory, "a")


def test_vms_of_many_ids_are_read_at_once(
    inventory: InventoryRepository, database: Database
) -> None:
    observe(inventory, replace(A, id="c", project="theirs"), replace(A, id="d"))
    inventory.mark_deleted("d", T0, inventory.observation_time())
    with recorded_statements(database) as statements:
        vms = inventory.get_many(["a", "b", "c", "d", "unknown", "a"], "default")
        assert vms == {"a": A, "b": B}
    assert len(statements) == 1
    assert inventory.get_many(["c"]) == {"c": replace(A, id="c", project="theirs")}
    assert inventory.get_many([]) == {}


def test_old_vm_is_read_again(
    inventory: InventoryRepository, other: InventoryRepository, database: Database
) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE vms SET observation_started_at = 1"))
        connection.execute(text("DELETE FROM sync_state"))
    snapshot = inventory.get("a")
    assert snapshot is not None
    assert snapshot.age_seconds > 1000
    # an observation without a change leaves no event
    observe(other, A)
    snapshot = inventory.get("a")
    assert snapshot is not None
    assert snapshot.age_seconds < 60


def test_age_of_a_vm_includes_the_time_of_its_query(
    inventory: InventoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_cache, "monotonic", count(step=120).__next__)
    snapshot = inventory.get("a")
    assert snapshot is not None
    assert 120 <= snapshot.age_seconds < 180


def test_reinserted_vm_is_read(inventory: InventoryRepository, other: InventoryRepository) -> None:
    assert listed(inventory) == [A, B]
    other.mark_deleted("a", T0, other.observation_time())
    other.purge_deleted(T0 + timedelta(days=1))
    changed = replace(A, metadata={"a": "b"}, updated_at=T0 + timedelta(days=2))
    observe(other, changed)
    assert (read(inventory, "a"), listed(inventory)) == (changed, [changed, B])


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
    pages = [inventory.list_page(BY_NAME, PageRequest(), T0).page for _ in range(2)]
    assert pages[0] is not pages[1]
    assert [page.items for page in pages] == [[A, B]] * 2


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
