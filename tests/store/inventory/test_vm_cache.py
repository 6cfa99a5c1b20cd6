"""VM cache tests: only changed rows are read again."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event

from tests.support.factories import T0, VM_1
from vmapi.domain.pagination import PageRequest
from vmapi.domain.vm import VM, VMQuery
from vmapi.store.database import Database
from vmapi.store.inventory import cache
from vmapi.store.inventory.repository import InventoryRepository

A, B = (replace(VM_1, id=vm_id, name=vm_id) for vm_id in "ab")
BY_NAME = VMQuery(sort="name")


@pytest.fixture
def inventory(database: Database) -> InventoryRepository:
    inventory = InventoryRepository(database)
    inventory.save_observations([A, B], inventory.observation_time())
    return inventory


def listed(inventory: InventoryRepository) -> list[VM]:
    return list(inventory.list_page(BY_NAME, PageRequest(), T0).vms)


@contextmanager
def recorded_vm_reads(database: Database) -> Iterator[list[str]]:
    """Record the statements that read whole VMs."""
    statements: list[str] = []

    def record(_: object, __: object, statement: str, *___: object) -> None:
        if "vms.observed" in statement:
            statements.append(statement)

    event.listen(database.engine, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        event.remove(database.engine, "before_cursor_execute", record)


def test_unchanged_vms_are_read_once(inventory: InventoryRepository, database: Database) -> None:
    first = listed(inventory)
    with recorded_vm_reads(database) as reads:
        second = listed(inventory)
    assert first == [A, B]
    assert all(vm is cached for vm, cached in zip(first, second, strict=True))
    assert reads == []


def test_list_reads_changed_vms_again(inventory: InventoryRepository) -> None:
    first = listed(inventory)
    changed = replace(A, metadata={"a": "b"})
    inventory.save_observations([changed, B], inventory.observation_time())
    second = listed(inventory)
    assert second == [changed, B]
    assert second[1] is first[1]


def test_get_returns_the_cached_object_of_an_unchanged_vm(inventory: InventoryRepository) -> None:
    first, second = inventory.get("a"), inventory.get("a")
    assert first is not None
    assert second is not None
    assert second.vm is first.vm is listed(inventory)[0]
    assert (second.revision, second.etag) == (first.revision, first.etag)


def test_get_reads_a_changed_vm_again(inventory: InventoryRepository) -> None:
    inventory.get("a")
    changed = replace(A, metadata={"a": "b"})
    inventory.save_observations([changed], inventory.observation_time())
    snapshot = inventory.get("a")
    assert snapshot is not None
    assert (snapshot.vm, snapshot.revision) == (changed, 2)
    inventory.mark_deleted("a", T0, inventory.observation_time())
    assert inventory.get("a") is None


def test_cached_vm_is_visible_to_its_project_only(inventory: InventoryRepository) -> None:
    inventory.save_observations([replace(A, project="one")], inventory.observation_time())
    assert inventory.get("a", "one") is not None
    assert inventory.get("a", "other") is None


def test_reinserted_row_is_not_served_from_the_cache(
    inventory: InventoryRepository, database: Database
) -> None:
    listed(inventory)
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM vms")
    changed = replace(A, metadata={"a": "b"}, updated_at=A.updated_at + timedelta(seconds=1))
    inventory.save_observations([changed], inventory.observation_time())
    assert listed(inventory) == [changed]


def test_list_longer_than_the_cache_is_complete(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "VM_CACHE_SIZE", 1)
    inventory = InventoryRepository(database)
    inventory.save_observations([A, B], inventory.observation_time())
    assert [listed(inventory) for _ in range(2)] == [[A, B]] * 2


def test_get_many_returns_the_live_vms_of_a_project_by_id(inventory: InventoryRepository) -> None:
    own_vm, foreign_vm, deleted_vm = (replace(A, id=vm_id, project="ours") for vm_id in "cde")
    foreign_vm = replace(foreign_vm, project="theirs")
    inventory.save_observations([own_vm, foreign_vm, deleted_vm], inventory.observation_time())
    inventory.mark_deleted("e", T0, inventory.observation_time())
    ids = ["c", "d", "e", "unknown", "c"]
    assert inventory.get_many(ids, "ours") == {"c": own_vm}
    assert inventory.get_many(ids) == {"c": own_vm, "d": foreign_vm}
    assert inventory.get_many([]) == {}


def test_get_many_reads_only_the_named_vms(
    inventory: InventoryRepository, database: Database
) -> None:
    with recorded_vm_reads(database) as reads:
        first = inventory.get_many(["a"])
        assert inventory.get_many(["a"])["a"] is first["a"]
    assert len(reads) == 1
