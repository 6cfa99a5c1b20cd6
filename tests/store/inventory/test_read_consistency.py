"""Cached reads during many writes: none is older than a commit that ended before it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random

import pytest
from sqlalchemy import func, select

from tests.support.factories import T0, VM_1
from tests.support.operation_factory import run_concurrently
from vmapi.domain.lifecycle import Status
from vmapi.domain.observation import Observation
from vmapi.domain.pagination import MAX_PAGE_SIZE, PageRequest
from vmapi.domain.selector import parse_selector
from vmapi.domain.vm import VM, VMQuery
from vmapi.store.database import Database
from vmapi.store.inventory import observations
from vmapi.store.inventory.repository import InventoryRepository
from vmapi.store.tables import events

WRITERS = 3
READERS = 2
TURNS = 60
STORED_EVENTS = 100
"""More than transactions in progress write."""

PLAIN_QUERY = PageRequest(page_size=MAX_PAGE_SIZE + 1)
"""A list of this size is read by a query, not from the cache."""

QUERIES = (
    VMQuery(),
    VMQuery(sort="name"),
    VMQuery(name="a*"),
    VMQuery(name="a*", sort="-updated_at"),
    VMQuery(statuses=frozenset({Status.STOPPED}), sort="-name"),
    VMQuery(flavor="f1", updated_after=T0 + timedelta(seconds=20)),
    VMQuery(selector=parse_selector("turn notin (1,2,3)")),
    VMQuery(created_after=T0, created_before=T0 + timedelta(minutes=1), sort="updated_at"),
)


@dataclass
class WrittenVMs:
    """The changes of the writers: the number of a change is in the metadata of its VM."""

    confirmed: dict[str, int] = field(default_factory=dict)
    """The last committed change of each VM that was live then."""
    deletes: dict[str, int] = field(default_factory=dict)
    """The last change before a delete that has begun."""


class Writer:
    """Changes VMs that no other writer changes, as another process does."""

    def __init__(self, number: int, database: Database, written: WrittenVMs) -> None:
        self._number, self._database, self._written = number, database, written
        self._inventory = InventoryRepository(database)
        self._random = Random(number)

    def run(self) -> None:
        """Change VMs in random ways."""
        for turn in range(1, TURNS):
            kinds = (self.change_pair, self.change_pair, self.delete, self.purge)
            self._random.choice(kinds)(turn)

    def change_pair(self, turn: int) -> None:
        """Change two VMs in one transaction."""
        pair = self._random.randrange(3)
        ids = [f"{self._number}-{pair}-{half}" for half in "ab"]
        vms = [self._build(vm_id, turn) for vm_id in ids]
        with self._database.write() as connection:
            # later than any observation of this VM
            observations.apply(connection, Observation(2**61 + turn, vms))
            time.sleep(self._random.random() * 0.002)
        self._written.confirmed |= dict.fromkeys(ids, turn)

    def delete(self, turn: int) -> None:
        """Delete a VM that has no partner."""
        vm_id = f"{self._number}-single"
        self._inventory.save_observations(
            [self._build(vm_id, turn)], self._inventory.observation_time()
        )
        self._written.confirmed[vm_id] = turn
        self._written.deletes[vm_id] = turn
        at = T0 + timedelta(seconds=turn)
        self._inventory.mark_deleted(vm_id, at, self._inventory.observation_time())
        self._written.confirmed.pop(vm_id)

    def purge(self, _: int) -> None:
        """Delete the rows of deleted VMs, and older events."""
        self._inventory.purge_deleted(T0 + timedelta(days=1))
        with self._database.write() as connection:
            newest = connection.execute(select(func.max(events.c.id))).scalar() or 0
            connection.execute(events.delete().where(events.c.id < newest - STORED_EVENTS))

    def _build(self, vm_id: str, turn: int) -> VM:
        return replace(
            VM_1,
            id=vm_id,
            name=f"{self._random.choice('ab')}-{vm_id}",
            status=self._random.choice([Status.RUNNING, Status.STOPPED]),
            flavor=self._random.choice(["f1", "f2"]),
            created_at=T0 + timedelta(seconds=sum(map(ord, vm_id)) % 60),
            updated_at=T0 + timedelta(seconds=turn),
            metadata={"turn": f"{turn}"},
        )


def turn_of(vm: VM) -> int:
    return int(vm.metadata["turn"])


def check_read(inventory: InventoryRepository, written: WrittenVMs, random: Random) -> None:
    before = dict(written.confirmed)
    vms = {vm.id: vm for vm in inventory.list_page(VMQuery(), PageRequest(), T0).vms}
    check_turns(before, vms, written)
    for vm_id, vm in vms.items():
        if vm_id.endswith("-a"):
            # one transaction has changed both
            assert turn_of(vms[f"{vm_id[:-1]}b"]) == turn_of(vm)
    before = dict(written.confirmed)
    vm_id = random.choice([*before, "unknown"])
    snapshot = inventory.get(vm_id)
    turns = {vm_id: before[vm_id]} if vm_id in before else {}
    check_turns(turns, {vm_id: snapshot.vm} if snapshot else {}, written)


def check_turns(before: Mapping[str, int], vms: Mapping[str, VM], written: WrittenVMs) -> None:
    for vm_id, turn in before.items():
        if vm_id in vms:
            assert turn_of(vms[vm_id]) >= turn
        else:
            assert written.deletes.get(vm_id, 0) >= turn


@pytest.mark.parametrize("seed", range(2))
def test_reads_during_writes_see_every_commit_before_them(
    connect: Callable[[], Database], seed: int
) -> None:
    written = WrittenVMs()
    writers = [Writer(10 * seed + number, connect(), written) for number in range(WRITERS)]
    readers = [InventoryRepository(connect()) for _ in range(READERS)]
    running = [None] * WRITERS

    def run(number: int) -> bool:
        if number < WRITERS:
            try:
                writers[number].run()
            finally:
                running.pop()
            return True
        random = Random(number)
        while running:
            check_read(readers[number - WRITERS], written, random)
        return True

    assert run_concurrently(WRITERS + READERS, run) == WRITERS + READERS
    for reader in readers:
        for query in QUERIES:
            cached = reader.list_page(query, PageRequest(page_size=100), T0)
            plain = reader.list_page(query, PLAIN_QUERY, T0)
            assert (cached.vms, cached.page.total) == (plain.vms, plain.page.total)
