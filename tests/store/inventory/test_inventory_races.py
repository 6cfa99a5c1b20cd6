"""Race tests: several processes insert a VM, and it is created once."""

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


def names(inventory: InventoryRepository) -> dict[str, str]:
    return {vm.id: vm.name for vm in inventory.list_page(VMQuery(), PageRequest(1, 100), T0).vms}


def announced(database: Database) -> list[tuple[str, str | None]]:
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
    ours, others = inventories[:2]
    first = [replace(VM_1, id=each, name="first") for each in "ba"]
    actions_in_progress = observations.overlay.actions_in_progress

    def meanwhile(connection: Any, ids: Any) -> Any:
        if first and connection.engine.pool is databases[0].engine.pool:
            others.save_observations([first.pop()], before)
        return actions_in_progress(connection, ids)

    monkeypatch.setattr(observations.overlay, "actions_in_progress", meanwhile)
    before, begun = others.observation_time(), ours.observation_time() + 60_000_000
    seen = [replace(VM_1, id=each, name="later") for each in "abc"]
    assert ours.save_observations(seen, begun) == set("abc")
    assert names(ours) == dict.fromkeys("abc", "later")
    assert sorted(announced(database)) == [
        ("vm.changed", "a"),
        *(("vm.created", each) for each in "abc"),
    ]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_newer_row_of_another_process_stays(
    inventories: Sequence[InventoryRepository], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, others = inventories[:2]
    first = [replace(VM_1, id="a", name="newer")]
    actions_in_progress = observations.overlay.actions_in_progress

    def meanwhile(connection: Any, ids: Any) -> Any:
        while first:
            others.save_observations([first.pop()], others.observation_time())
        return actions_in_progress(connection, ids)

    begun = ours.observation_time() - 60_000_000
    monkeypatch.setattr(observations.overlay, "actions_in_progress", meanwhile)
    assert ours.save_observations([replace(VM_1, id=each) for each in "ab"], begun) == {"b"}
    assert names(ours) == {"a": "newer", "b": VM_1.name}
    assert sorted(announced(database)) == [("vm.created", "a"), ("vm.created", "b")]


def test_concurrent_observations_of_new_and_known_vms_agree(
    inventories: Sequence[InventoryRepository], database: Database
) -> None:
    for round in range(ROUNDS):
        ids = [f"{round % 7}-{round}-{number}" for number in range(4)]
        known = [f"{each % 7}-{each}-0" for each in range(round)]

        def observe(number: int, ids: list[str] = ids, known: list[str] = known) -> bool:
            inventory, some = inventories[number], ids[: number + 1]
            seen = [replace(VM_1, id=each, name=f"{len(known)}") for each in [*known, *some]]
            return inventory.save_observations(seen, inventory.observation_time()) <= {
                *known,
                *some,
            }

        assert run_concurrently(4, observe) == 4
        assert set(names(inventories[0])) >= set(ids)
    created = [vm_id for kind, vm_id in announced(database) if kind == "vm.created"]
    assert len(created) == len(set(created)) == 4 * ROUNDS
