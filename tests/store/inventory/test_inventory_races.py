"""Several processes are first to see a VM: each keeps what it saw, and it was created once."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.support.operation_factory import at_once
from tests.unit.domain.test_domain import MACHINE, MOMENT
from vmapi.domain.pagination import Paging, VMQuery
from vmapi.store.database import Database
from vmapi.store.events import EventLog
from vmapi.store.inventory import observations as observation
from vmapi.store.inventory.repository import Inventory

ROUNDS = 20


@pytest.fixture
def inventories(connect: Callable[[], Database]) -> list[Inventory]:
    """The inventories of four processes."""
    return [Inventory(connect()) for _ in range(4)]


def names(inventory: Inventory) -> dict[str, str]:
    return {vm.id: vm.name for vm in inventory.find(VMQuery(), Paging(1, 100), MOMENT).vms}


def told(database: Database) -> list[tuple[str, str | None]]:
    log = EventLog(database)
    log.number()
    return [(event.kind, event.vm_id) for event in log.after(0)]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_new_vms_that_others_keep_first_one_after_the_other(
    inventories: Sequence[Inventory], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, others = inventories[:2]
    first = [replace(MACHINE, id=each, name="first") for each in "ba"]
    look = observation.overlay.under_way

    def meanwhile(connection: Any, ids: Any) -> Any:
        if first and connection.engine.pool is ours._database.engine.pool:
            others.observe([first.pop()], before)
        return look(connection, ids)

    monkeypatch.setattr(observation.overlay, "under_way", meanwhile)
    before, begun = others.begin(), ours.begin() + 60_000_000
    seen = [replace(MACHINE, id=each, name="later") for each in "abc"]
    assert ours.observe(seen, begun) == set("abc")
    assert names(ours) == dict.fromkeys("abc", "later")
    assert sorted(told(database)) == [
        ("vm.changed", "a"),
        *(("vm.created", each) for each in "abc"),
    ]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_what_others_know_better_is_not_kept(
    inventories: Sequence[Inventory], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, others = inventories[:2]
    first = [replace(MACHINE, id="a", name="newer")]
    look = observation.overlay.under_way

    def meanwhile(connection: Any, ids: Any) -> Any:
        while first:
            others.observe([first.pop()], others.begin())
        return look(connection, ids)

    begun = ours.begin() - 60_000_000
    monkeypatch.setattr(observation.overlay, "under_way", meanwhile)
    assert ours.observe([replace(MACHINE, id=each) for each in "ab"], begun) == {"b"}
    assert names(ours) == {"a": "newer", "b": MACHINE.name}
    assert sorted(told(database)) == [("vm.created", "a"), ("vm.created", "b")]


def test_new_vms_beside_known_ones_seen_at_once(
    inventories: Sequence[Inventory], database: Database
) -> None:
    for round in range(ROUNDS):
        ids = [f"{round % 7}-{round}-{number}" for number in range(4)]
        known = [f"{each % 7}-{each}-0" for each in range(round)]

        def look(number: int, ids: list[str] = ids, known: list[str] = known) -> bool:
            inventory, some = inventories[number], ids[: number + 1]
            seen = [replace(MACHINE, id=each, name=f"{len(known)}") for each in [*known, *some]]
            return inventory.observe(seen, inventory.begin()) <= {*known, *some}

        assert at_once(4, look) == 4
        assert set(names(inventories[0])) >= set(ids)
    created = [vm_id for kind, vm_id in told(database) if kind == "vm.created"]
    assert len(created) == len(set(created)) == 4 * ROUNDS
