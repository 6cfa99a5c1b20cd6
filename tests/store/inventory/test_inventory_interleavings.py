"""However looks at the cloud interleave, and whatever its clocks say: the newest state stays."""

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
"""Seconds: SQLite's clock counts milliseconds."""
LOOKERS = 3
FIRST = replace(VM_1, name="0")


@dataclass
class Play:
    """A cloud of one VM, whose name counts its changes, and those who look at it."""

    inventory: InventoryRepository
    now: VM = FIRST
    gone: bool = False
    begun: dict[int, int] = field(default_factory=dict)
    read: dict[int, VM | None] = field(default_factory=dict)
    newest: int = -1
    ended: bool = False

    def change(self, skew: int) -> None:
        """Let something change; the cloud's clock is off by so many seconds."""
        number = int(self.now.name) + 1
        at = T0 + timedelta(seconds=number // 2 + skew)
        self.now = replace(self.now, name=str(number), updated_at=at)

    def step(self, looker: int) -> None:
        """Let one who looks begin, read, or keep what was read."""
        time.sleep(TICK)
        if looker not in self.begun:
            self.begun[looker] = self.inventory.observation_time()
        elif looker not in self.read:
            self.read[looker] = None if self.gone else self.now
        else:
            self._keep(self.begun.pop(looker), self.read.pop(looker))

    def _keep(self, begun: int, seen: VM | None) -> None:
        if seen is None:
            self.inventory.mark_deleted(VM_1.id, T0, self.inventory.observation_time())
            self.ended = self.ended or self.newest >= 0
        else:
            self.inventory.save_observations([seen], begun)
            self.newest = max(self.newest, int(seen.name))

    def kept(self) -> VM | None:
        """Return what is known of the VM."""
        every = VMQuery(statuses=frozenset(Status))
        found = self.inventory.list_page(every, PageRequest(), T0 - timedelta(days=1)).vms
        return found[0] if found else None


steps = st.integers(0, LOOKERS - 1)
skews = st.sampled_from([-1, 0, 1])
events = st.lists(st.one_of(steps, steps, st.tuples(skews), st.just("delete")), max_size=24)


def play(database: Database, drawn: list[object], *, deletes: bool, skewed: bool) -> Play:
    with database.write() as connection:
        connection.execute(table.delete())
    told = Play(InventoryRepository(database))
    for event in drawn:
        if isinstance(event, int):
            told.step(event)
        elif isinstance(event, tuple):
            told.change(event[0] if skewed else int(told.now.name))
        elif deletes:
            told.gone = True
    return told


EXAMPLES = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@EXAMPLES
@given(drawn=events)
def test_whatever_came_before_the_next_look_tells_the_newest(
    database: Database, drawn: list[object]
) -> None:
    told = play(database, drawn, deletes=False, skewed=True)
    for _ in range(3):
        told.step(LOOKERS)
    assert told.kept() == told.now


@EXAMPLES
@given(drawn=events)
def test_with_clocks_that_are_right_nothing_old_is_kept(
    database: Database, drawn: list[object]
) -> None:
    told = play(database, drawn, deletes=False, skewed=False)
    kept = told.kept()
    assert (int(kept.name) if kept else -1) == told.newest


@EXAMPLES
@given(drawn=events)
def test_what_is_gone_stays_gone(database: Database, drawn: list[object]) -> None:
    told = play(database, drawn, deletes=True, skewed=True)
    kept = told.kept()
    if told.ended:
        assert kept is not None
        assert kept.status is Status.DELETED
