"""Reads read again what has changed, and only that."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event

from tests.unit.domain.test_domain import MACHINE, MOMENT
from vmapi.domain.pagination import Paging, VMQuery
from vmapi.domain.vm import VM
from vmapi.store.database import Database
from vmapi.store.inventory import cache as remembered
from vmapi.store.inventory.repository import Inventory

A, B = (replace(MACHINE, id=vm_id, name=vm_id) for vm_id in "ab")
BY_NAME = VMQuery(sort="name")


@pytest.fixture
def inventory(database: Database) -> Inventory:
    inventory = Inventory(database)
    inventory.observe([A, B], inventory.begin())
    return inventory


def listed(inventory: Inventory) -> list[VM]:
    return list(inventory.find(BY_NAME, Paging(), MOMENT).vms)


@contextmanager
def whole_reads(database: Database) -> Iterator[list[str]]:
    """Gather the statements that read whole VMs."""
    found: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        if "vms.observed" in statement:
            found.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def test_what_has_not_changed_is_read_once(inventory: Inventory, database: Database) -> None:
    first = listed(inventory)
    with whole_reads(database) as reads:
        second = listed(inventory)
    assert first == [A, B]
    assert all(one is other for one, other in zip(first, second, strict=True))
    assert reads == []


def test_what_has_changed_is_read_anew(inventory: Inventory) -> None:
    first = listed(inventory)
    changed = replace(A, metadata={"a": "b"})
    inventory.observe([changed, B], inventory.begin())
    second = listed(inventory)
    assert second == [changed, B]
    assert second[1] is first[1]


def test_one_that_has_not_changed_is_the_same(inventory: Inventory) -> None:
    first, second = inventory.get("a"), inventory.get("a")
    assert first is not None
    assert second is not None
    assert second.vm is first.vm is listed(inventory)[0]
    assert (second.revision, second.etag) == (first.revision, first.etag)


def test_one_that_has_changed_is_read_anew(inventory: Inventory) -> None:
    inventory.get("a")
    changed = replace(A, metadata={"a": "b"})
    inventory.observe([changed], inventory.begin())
    found = inventory.get("a")
    assert found is not None
    assert (found.vm, found.revision) == (changed, 2)
    inventory.gone("a", MOMENT, inventory.begin())
    assert inventory.get("a") is None


def test_what_is_remembered_is_shown_to_its_project_only(inventory: Inventory) -> None:
    inventory.observe([replace(A, project="one")], inventory.begin())
    assert inventory.get("a", "one") is not None
    assert inventory.get("a", "other") is None


def test_a_row_that_counts_from_one_again_is_another(
    inventory: Inventory, database: Database
) -> None:
    listed(inventory)
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM vms")
    again = replace(A, metadata={"a": "b"}, updated_at=A.updated_at + timedelta(seconds=1))
    inventory.observe([again], inventory.begin())
    assert listed(inventory) == [again]


def test_more_than_is_remembered(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "SIZE", 1)
    inventory = Inventory(database)
    inventory.observe([A, B], inventory.begin())
    assert [listed(inventory) for _ in range(2)] == [[A, B]] * 2
