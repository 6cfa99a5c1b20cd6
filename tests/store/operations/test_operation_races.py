"""Race tests: several processes change one VM or name at the same time."""

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
        new = [make(f"{round}-{index}", action, vm_id) for index, action in enumerate(actions)]
        added = run_concurrently(
            len(new),
            lambda index, new=new: succeeds(lambda: stores[index].add(new[index]), TaskInProgress),
        )
        stored = stores[0].list_page(OperationQuery(vm_id=vm_id), PageRequest()).items
        assert len(stored) == added
        unfinished = {operation.action for operation in stored if not operation.is_finished}
        assert unfinished == {Action.DELETE}
        statuses = {
            operation.status for operation in stored if operation.action is not Action.DELETE
        }
        assert statuses <= {OperationStatus.SUPERSEDED}
        entries = [
            entry[2] for entry in list_outcomes(database) if entry[0].startswith(f"{round}-")
        ]
        assert entries.count("accepted") == added
        assert entries.count("superseded") == added - actions.count(Action.DELETE)


def test_one_of_two_creates_of_a_name_is_admitted(
    stores: list[OperationRepository], make: OperationFactory, clock: Clock
) -> None:
    for round in range(ROUNDS):
        clock.sleep(1)
        refused: list[NameTaken] = []

        def add(index: int, round: int = round, refused: list[NameTaken] = refused) -> bool:
            try:
                stores[index].add(make(f"{round}-{index}", Action.CREATE, None, f"web-{round}"))
            except NameTaken as error:
                refused.append(error)
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
        operation = stores[0].get(stop)
        running = replace(operation, status=OperationStatus.RUNNING)

        def change(
            index: int, round: int = round, operation: object = operation, running: object = running
        ) -> bool:
            if index == 0:
                return succeeds(
                    lambda: stores[0].save(make.finished(operation)), OperationRevisionConflict
                )
            if index == 1:
                return succeeds(lambda: stores[1].save(running), OperationRevisionConflict)
            stores[2].add(make(f"delete-{round}", Action.DELETE, f"vm-{round}"))
            return True

        assert run_concurrently(3, change) in (1, 2)
        saved = stores[3].get(stop)
        entries = [entry[2] for entry in list_outcomes(database) if entry[0] == stop]
        assert entries == ["accepted", saved.status]
        assert saved.status in (OperationStatus.SUCCEEDED, OperationStatus.SUPERSEDED)
        assert not stores[3].get(f"delete-{round}").is_finished


@pytest.fixture
def before_conflict_read(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[], object]], None]:
    """Run a function just before the repository reads the conflict."""

    def install(func: Callable[[], object]) -> None:
        read, pending = database.read, [func]

        def call_and_read() -> AbstractContextManager[object]:
            while pending:
                pending.pop()()
            return read()

        monkeypatch.setattr(database, "read", call_and_read)

    return install


def test_name_released_during_an_insert_is_reserved(
    store: OperationRepository,
    other: OperationRepository,
    make: OperationFactory,
    before_conflict_read: Callable[[Callable[[], object]], None],
) -> None:
    first = make("1", Action.CREATE, None, "web")
    other.add(first)
    before_conflict_read(lambda: other.discard(first, NameTaken("taken")))
    store.add(make("2", Action.CREATE, None, "web"))
    with pytest.raises(NameTaken) as raised:
        other.add(make("3", Action.CREATE, None, "web"))
    assert raised.value.extra == {"operation_id": "2"}


def test_operation_finished_during_an_insert_is_no_conflict(
    store: OperationRepository,
    other: OperationRepository,
    make: OperationFactory,
    before_conflict_read: Callable[[Callable[[], object]], None],
) -> None:
    other.add(make("1", key=IDEMPOTENCY_KEY))
    before_conflict_read(lambda: other.save(make.finished(other.get("1"), key=None)))
    store.add(make("2", key=IDEMPOTENCY_KEY))
    assert store.get("2").key == IDEMPOTENCY_KEY
    with store.lease("2") as acquired:
        assert not acquired
