"""Race tests: several processes insert one VM, and one insert succeeds."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.support.factories import T0, VM_1
from tests.support.operation_factory import run_concurrently
from vmapi.domain.pagination import PageRequest
from vmapi.domain.vm import VMQuery
from vmapi.store.database import Database
from vmapi.store.events import EventLog
from vmapi.store.inventory import observations
from vmapi.store.inventory.repository import InventoryRepository

ROUNDS = 20


@pytest.fixture
def databases(connect: Callable[[], Database]) -> list[Database]:
    """The connections of four processes."""
    return [connect() for _ in range(4)]


@pytest.fixture
def inventories(databases: list[Database]) -> list[InventoryRepository]:
    """The inventories of four processes."""
    return [InventoryRepository(database) for database in databases]


def names_by_id(inventory: InventoryRepository) -> dict[str, str]:
    return {vm.id: vm.name for vm in inventory.list_page(VMQuery(), PageRequest(1, 100), T0).vms}


def read_events(database: Database) -> list[tuple[str, str | None]]:
    log = EventLog(database)
    log.assign_sequences()
    return [(event.kind, event.vm_id) for event in log.read_after(0)]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_vm_inserted_by_another_process_first_is_applied_again(
    inventories: Sequence[InventoryRepository],
    databases: Sequence[Database],
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inventory, other_inventory = inventories[:2]
    other_vms = [replace(VM_1, id=vm_id, name="first") for vm_id in "ba"]
    actions_in_progress = observations.overlay.actions_in_progress

    def save_other_first(connection: Any, ids: Any) -> Any:
        if other_vms and connection.engine.pool is databases[0].engine.pool:
            other_inventory.save_observations([other_vms.pop()], other_started_at)
        return actions_in_progress(connection, ids)

    monkeypatch.setattr(observations.overlay, "actions_in_progress", save_other_first)
    other_started_at, started_at = (
        other_inventory.observation_time(),
        inventory.observation_time() + 60_000_000,
    )
    observed_vms = [replace(VM_1, id=vm_id, name="later") for vm_id in "abc"]
    assert inventory.save_observations(observed_vms, started_at) == set("abc")
    assert names_by_id(inventory) == dict.fromkeys("abc", "later")
    assert sorted(read_events(database)) == [
        ("vm.changed", "a"),
        *(("vm.created", vm_id) for vm_id in "abc"),
    ]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_newer_row_of_another_process_stays(
    inventories: Sequence[InventoryRepository], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory, other_inventory = inventories[:2]
    other_vms = [replace(VM_1, id="a", name="newer")]
    actions_in_progress = observations.overlay.actions_in_progress

    def save_other_first(connection: Any, ids: Any) -> Any:
        while other_vms:
            other_inventory.save_observations([other_vms.pop()], other_inventory.observation_time())
        return actions_in_progress(connection, ids)

    started_at = inventory.observation_time() - 60_000_000
    monkeypatch.setattr(observations.overlay, "actions_in_progress", save_other_first)
    assert inventory.save_observations([replace(VM_1, id=vm_id) for vm_id in "ab"], started_at) == {
        "b"
    }
    assert names_by_id(inventory) == {"a": "newer", "b": VM_1.name}
    assert sorted(read_events(database)) == [("vm.created", "a"), ("vm.created", "b")]


def test_concurrent_observations_of_new_and_known_vms_agree(
    inventories: Sequence[InventoryRepository], database: Database
) -> None:
    for round in range(ROUNDS):
        ids = [f"{round % 7}-{round}-{number}" for number in range(4)]
        known_ids = [f"{number % 7}-{number}-0" for number in range(round)]

        def observe(number: int, ids: list[str] = ids, known_ids: list[str] = known_ids) -> bool:
            inventory, new_ids = inventories[number], ids[: number + 1]
            observed_vms = [
                replace(VM_1, id=vm_id, name=f"{len(known_ids)}")
                for vm_id in [*known_ids, *new_ids]
            ]
            return inventory.save_observations(observed_vms, inventory.observation_time()) <= {
                *known_ids,
                *new_ids,
            }

        assert run_concurrently(4, observe) == 4
        assert set(names_by_id(inventories[0])) >= set(ids)
    created = [vm_id for kind, vm_id in read_events(database) if kind == "vm.created"]
    assert len(created) == len(set(created)) == 4 * ROUNDS
