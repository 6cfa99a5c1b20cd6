"""Property tests: the newest state stays, however observations interleave."""

import time
from dataclasses import dataclass, field, replace
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.factories import T0, VM_1
from vmapi.domain.lifecycle import Status
from vmapi.domain.pagination import PageRequest
from vmapi.domain.vm import VM, VMQuery
from vmapi.store.database import Database
from vmapi.store.inventory.repository import InventoryRepository
from vmapi.store.tables import vms as table

TICK = 0.0015
"""Seconds between two steps: their times must differ."""
OBSERVERS = 3
FIRST = replace(VM_1, name="0")


@dataclass
class InterleavingModel:
    """A cloud of one VM and its observers; the name of the VM counts its changes."""

    inventory: InventoryRepository
    now: VM = FIRST
    is_deleted: bool = False
    started: dict[int, int] = field(default_factory=dict)
    read: dict[int, VM | None] = field(default_factory=dict)
    newest: int = -1
    saw_deletion: bool = False

    def change(self, skew: int) -> None:
        """Change the VM; the clock of the cloud is off by `skew` seconds."""
        number = int(self.now.name) + 1
        at = T0 + timedelta(seconds=number // 2 + skew)
        self.now = replace(self.now, name=str(number), updated_at=at)

    def step(self, observer: int) -> None:
        """Let an observer start, read, or save its observation."""
        time.sleep(TICK)
        if observer not in self.started:
            self.started[observer] = self.inventory.observation_time()
        elif observer not in self.read:
            self.read[observer] = None if self.is_deleted else self.now
        else:
            self._save(self.started.pop(observer), self.read.pop(observer))

    def _save(self, started: int, seen: VM | None) -> None:
        if seen is None:
            self.inventory.mark_deleted(VM_1.id, T0, self.inventory.observation_time())
            self.saw_deletion = self.saw_deletion or self.newest >= 0
        else:
            self.inventory.save_observations([seen], started)
            self.newest = max(self.newest, int(seen.name))

    def stored(self) -> VM | None:
        """Return the VM of the inventory."""
        query = VMQuery(statuses=frozenset(Status))
        vms = self.inventory.list_page(query, PageRequest(), T0 - timedelta(days=1)).vms
        return vms[0] if vms else None


observer_steps = st.integers(0, OBSERVERS - 1)
skews = st.sampled_from([-1, 0, 1])
events = st.lists(
    st.one_of(observer_steps, observer_steps, st.tuples(skews), st.just("delete")), max_size=24
)


def run_model(
    database: Database, steps: list[object], *, deletes: bool, skewed: bool
) -> InterleavingModel:
    with database.write() as connection:
        connection.execute(table.delete())
    model = InterleavingModel(InventoryRepository(database))
    for event in steps:
        if isinstance(event, int):
            model.step(event)
        elif isinstance(event, tuple):
            model.change(event[0] if skewed else int(model.now.name))
        elif deletes:
            model.is_deleted = True
    return model


EXAMPLES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@EXAMPLES
@given(steps=events)
def test_next_observation_restores_the_newest_state(
    database: Database, steps: list[object]
) -> None:
    model = run_model(database, steps, deletes=False, skewed=True)
    for _ in range(3):
        model.step(OBSERVERS)
    assert model.stored() == model.now


@EXAMPLES
@given(steps=events)
def test_older_observation_never_replaces_a_newer_one(
    database: Database, steps: list[object]
) -> None:
    model = run_model(database, steps, deletes=False, skewed=False)
    stored = model.stored()
    assert (int(stored.name) if stored else -1) == model.newest


@EXAMPLES
@given(steps=events)
def test_deleted_vm_stays_deleted(database: Database, steps: list[object]) -> None:
    model = run_model(database, steps, deletes=True, skewed=True)
    stored = model.stored()
    if model.saw_deletion:
        assert stored is not None
        assert stored.status is Status.DELETED
