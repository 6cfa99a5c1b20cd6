"""What the store keeps, and what it lets there be only one of."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.contract.clock import Clock
from vmapi.errors import NameTaken, OperationNotFound, TaskInProgress
from vmapi.models.lifecycle import Action, Verb
from vmapi.models.operation import Operation, OperationStatus, Step
from vmapi.store.operations import OperationStore, StaleOperation

DONE = OperationStatus.SUCCEEDED


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> OperationStore:
    return OperationStore(clock, kept=3)


@pytest.fixture
def make(clock: Clock) -> Callable[..., Operation]:
    def made(
        id: str, action: Action = Action.STOP, vm_id: str | None = "vm", name: str | None = None
    ) -> Operation:
        return Operation(
            id=id,
            action=action,
            plan=(Step(Verb(action)),),
            created_at=clock(),
            requested_by="anonymous",
            request_id="r",
            vm_id=vm_id,
            claimed_name=name,
        )

    return made


Make = Callable[..., Operation]


def test_one_unfinished_operation_a_vm(store: OperationStore, make: Make) -> None:
    store.add(make("1"))
    with pytest.raises(TaskInProgress, match="The VM's stop is still under way"):
        store.add(make("2"))
    store.add(make("3", vm_id="other"))
    store.add(make("4", Action.CREATE, vm_id=None))
    store.add(make("5", Action.CREATE, vm_id=None))
    store.save(replace(store.get("1"), status=DONE))
    store.add(make("6"))
    assert [found.id for found in store.unfinished()] == ["3", "4", "5", "6"]


def test_a_delete_ends_what_is_under_way(store: OperationStore, make: Make, clock: Clock) -> None:
    store.add(make("1"))
    clock.sleep(1)
    store.add(make("2", Action.DELETE))
    ended = store.get("1")
    assert (ended.status, ended.finished_at) == (OperationStatus.SUPERSEDED, clock())
    with pytest.raises(StaleOperation):
        store.save(replace(make("1"), status=DONE))
    store.add(make("3", Action.DELETE))
    assert [found.id for found in store.unfinished()] == ["2", "3"]
    with pytest.raises(TaskInProgress):
        store.add(make("4"))


def test_the_newest_is_what_is_under_way(store: OperationStore, make: Make) -> None:
    assert store.unfinished_of("vm") is None
    store.add(make("1", Action.DELETE))
    store.add(make("2", Action.DELETE))
    store.save(store.get("1"))
    newest = store.unfinished_of("vm")
    assert newest is not None
    assert newest.id == "2"


def test_a_name_is_claimed_until_the_operation_is_over(store: OperationStore, make: Make) -> None:
    store.add(make("1", Action.CREATE, None, "web"))
    with pytest.raises(NameTaken) as caught:
        store.add(make("2", Action.CREATE, None, "web"))
    assert caught.value.extra == {"operation_id": "1"}
    store.add(make("3", Action.CREATE, None, "Web"))
    store.save(replace(store.get("1"), vm_id="vm-1"))
    with pytest.raises(NameTaken) as caught:
        store.add(make("4", Action.UPDATE, "vm", "web"))
    assert caught.value.extra == {"vm_id": "vm-1"}
    store.save(replace(store.get("1"), status=DONE))
    store.add(make("5", Action.CREATE, None, "web"))


def test_a_refused_claim_ends_nothing(store: OperationStore, make: Make) -> None:
    store.add(make("1", Action.CREATE, None, "web"))
    with pytest.raises(NameTaken):
        store.add(make("2", Action.CREATE, None, "web"))
    with pytest.raises(OperationNotFound):
        store.get("2")


def test_a_discarded_one_was_never_there(store: OperationStore, make: Make) -> None:
    operation = make("1", Action.CREATE, None, "web")
    store.add(operation)
    store.discard(operation)
    store.discard(operation)
    assert (store.all(), store.unfinished()) == ([], [])
    store.add(make("2", Action.CREATE, None, "web"))


def test_save_moves_the_revision_and_refuses_old_ones(store: OperationStore, make: Make) -> None:
    store.add(make("1"))
    first = store.get("1")
    saved = store.save(replace(first, request_id="a"))
    assert saved == replace(first, request_id="a", revision=1) == store.get("1")
    with pytest.raises(StaleOperation):
        store.save(replace(first, request_id="b"))
    over = store.save(replace(saved, status=DONE))
    assert store.get("1") == over
    with pytest.raises(StaleOperation):
        store.save(over)
    with pytest.raises(StaleOperation):
        store.save(make("never added"))


def test_unknown(store: OperationStore) -> None:
    with pytest.raises(OperationNotFound, match="There is no operation x"):
        store.get("x")


def test_all_is_the_newest_first(store: OperationStore, make: Make, clock: Clock) -> None:
    store.add(make("b", vm_id="1"))
    store.add(make("a", vm_id="2"))
    clock.sleep(1)
    store.add(make("c", vm_id="3"))
    store.save(replace(store.get("c"), status=DONE))
    clock.now -= timedelta(seconds=9)
    store.add(make("d", vm_id="4"))
    assert [found.id for found in store.all()] == ["c", "b", "a", "d"]


def test_finished_ones_are_forgotten_the_oldest_first(store: OperationStore, make: Make) -> None:
    store.add(make("under way"))
    for number in range(5):
        store.add(make(str(number), vm_id=str(number)))
        store.save(replace(store.get(str(number)), status=DONE))
    assert {found.id for found in store.all()} == {"under way", "2", "3", "4"}
    with pytest.raises(OperationNotFound):
        store.get("1")


def test_one_holds_the_lease(store: OperationStore) -> None:
    with store.lease("1") as first, store.lease("1") as second, store.lease("2") as other:
        assert (first, second, other) == (True, False, True)
    with store.lease("1") as again:
        assert again


def test_the_lease_is_given_back_when_its_holder_fails(store: OperationStore) -> None:
    with pytest.raises(ZeroDivisionError), store.lease("1"):
        raise ZeroDivisionError
    with store.lease("1") as again:
        assert again


def tried(call: Callable[[], object], *refusals: type[Exception]) -> bool:
    try:
        call()
    except refusals:
        return False
    return True


def test_of_many_threads_one_wins(clock: Clock, make: Make) -> None:
    store = OperationStore(clock)
    ids = [str(number) for number in range(200)]
    with ThreadPoolExecutor(16) as pool:
        named = [make("n" + id, Action.CREATE, None, "web") for id in ids]
        stops = [make("s" + id) for id in ids]
        claims = pool.map(lambda o: tried(lambda: store.add(o), NameTaken), named)
        assert list(claims).count(True) == 1
        added = pool.map(lambda o: tried(lambda: store.add(o), TaskInProgress), stops)
        assert list(added).count(True) == 1
        stop = store.unfinished_of("vm")
        assert stop is not None
        saves = pool.map(lambda _: tried(lambda: store.save(stop), StaleOperation), ids)
        assert list(saves).count(True) == 1
