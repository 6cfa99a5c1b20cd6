"""Race tests: processes change one VM or name at the same time."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

import pytest

from tests.support.audit_chain import list_outcomes
from tests.support.fake_clock import Clock
from tests.support.operation_factory import (
    IDEMPOTENCY_KEY,
    OperationFactory,
    run_concurrently,
    succeeds,
)
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import OperationQuery, OperationStatus
from vmapi.domain.pagination import PageRequest
from vmapi.errors import NameTaken, TaskInProgress
from vmapi.store.conflicts import OperationRevisionConflict
from vmapi.store.database import Database
from vmapi.store.operations.repository import OperationRepository

ROUNDS = 30


@pytest.fixture
def stores(connect: Callable[[], Database], clock: Clock) -> Iterator[list[OperationRepository]]:
    """The stores of four processes."""
    stores = [OperationRepository(connect(), clock) for _ in range(4)]
    yield stores
    for store in stores:
        store.close()


@pytest.mark.parametrize("others", [(Action.STOP,), (Action.STOP, Action.DELETE, Action.PAUSE)])
def test_no_operation_is_admitted_during_a_delete(
    stores: list[OperationRepository],
    make: OperationFactory,
    others: tuple[Action, ...],
    database: Database,
) -> None:
    actions = (Action.DELETE, *others)
    for round in range(ROUNDS):
        vm_id = f"vm-{round}"
        new = [make(f"{round}-{at}", action, vm_id) for at, action in enumerate(actions)]
        added = run_concurrently(
            len(new),
            lambda at, new=new: succeeds(lambda: stores[at].add(new[at]), TaskInProgress),
        )
        stored = stores[0].list_page(OperationQuery(vm_id=vm_id), PageRequest()).items
        assert len(stored) == added
        unfinished = {each.action for each in stored if not each.is_finished}
        assert unfinished == {Action.DELETE}
        ended = {each.status for each in stored if each.action is not Action.DELETE}
        assert ended <= {OperationStatus.SUPERSEDED}
        entries = [line[2] for line in list_outcomes(database) if line[0].startswith(f"{round}-")]
        assert entries.count("accepted") == added
        assert entries.count("superseded") == added - actions.count(Action.DELETE)


def test_one_of_two_creates_of_a_name_is_admitted(
    stores: list[OperationRepository], make: OperationFactory, clock: Clock
) -> None:
    for round in range(ROUNDS):
        clock.sleep(1)
        refused: list[NameTaken] = []

        def add(at: int, round: int = round, refused: list[NameTaken] = refused) -> bool:
            try:
                stores[at].add(make(f"{round}-{at}", Action.CREATE, None, f"web-{round}"))
            except NameTaken as taken:
                refused.append(taken)
                return False
            return True

        assert run_concurrently(2, add) == 1
        (winner,) = stores[2].list_page(OperationQuery(), PageRequest(1, 1)).items
        assert refused[0].extra == {"operation_id": winner.id}
        stores[2].save(make.finished(winner, status=OperationStatus.FAILED))


def test_save_during_a_delete_finishes_once(
    stores: list[OperationRepository], make: OperationFactory, database: Database
) -> None:
    for round in range(ROUNDS):
        vm_id, stop = f"vm-{round}", f"stop-{round}"
        stores[0].add(make(stop, vm_id=vm_id))
        begun = stores[0].get(stop)
        running = replace(begun, status=OperationStatus.RUNNING)

        def change(
            at: int, round: int = round, begun: object = begun, running: object = running
        ) -> bool:
            if at == 0:
                return succeeds(
                    lambda: stores[0].save(make.finished(begun)), OperationRevisionConflict
                )
            if at == 1:
                return succeeds(lambda: stores[1].save(running), OperationRevisionConflict)
            stores[2].add(make(f"delete-{round}", Action.DELETE, f"vm-{round}"))
            return True

        assert run_concurrently(3, change) in (1, 2)
        ended = stores[3].get(stop)
        entries = [line[2] for line in list_outcomes(database) if line[0] == stop]
        assert entries == ["accepted", ended.status]
        assert ended.status in (OperationStatus.SUCCEEDED, OperationStatus.SUPERSEDED)
        assert not stores[3].get(f"delete-{round}").is_finished


@pytest.fixture
def meanwhile(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[], object]], None]:
    """Run a function just before the repository reads the conflict."""

    def set_up(happens: Callable[[], object]) -> None:
        read, pending = database.read, [happens]

        def read_afterwards() -> AbstractContextManager[object]:
            while pending:
                pending.pop()()
            return read()

        monkeypatch.setattr(database, "read", read_afterwards)

    return set_up


def test_name_released_during_an_insert_is_reserved(
    store: OperationRepository,
    other: OperationRepository,
    make: OperationFactory,
    meanwhile: Callable[[Callable[[], object]], None],
) -> None:
    first = make("1", Action.CREATE, None, "web")
    other.add(first)
    meanwhile(lambda: other.discard(first, NameTaken("taken")))
    store.add(make("2", Action.CREATE, None, "web"))
    with pytest.raises(NameTaken) as caught:
        other.add(make("3", Action.CREATE, None, "web"))
    assert caught.value.extra == {"operation_id": "2"}


def test_operation_finished_during_an_insert_is_no_conflict(
    store: OperationRepository,
    other: OperationRepository,
    make: OperationFactory,
    meanwhile: Callable[[Callable[[], object]], None],
) -> None:
    other.add(make("1", key=IDEMPOTENCY_KEY))
    meanwhile(lambda: other.save(make.finished(other.get("1"), key=None)))
    store.add(make("2", key=IDEMPOTENCY_KEY))
    assert store.get("2").key == IDEMPOTENCY_KEY
    with store.lease("2") as held:
        assert not held
