"""What every store of operations does. A subclass brings the fixture `store`."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import count
from threading import Barrier
from typing import Any

import pytest

from tests.contract.clock import Clock
from vmapi.errors import NameTaken, OperationNotFound, TaskInProgress
from vmapi.models.lifecycle import Action, Verb
from vmapi.models.operation import (
    Failure,
    IdempotencyKey,
    Operation,
    OperationQuery,
    OperationStatus,
    Step,
    StepState,
)
from vmapi.models.page import Paging
from vmapi.models.vm import Changes
from vmapi.store.conflicts import KeyTaken, StaleOperation
from vmapi.store.operations import OperationStore
from vmapi.store.room import KEY_LIFE

KEY = IdempotencyKey("me", "k-1", "f" * 64)
ANYTHING = OperationQuery()


class Maker:
    """Makes operations, and ends them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(
        self,
        id: str,
        action: Action = Action.STOP,
        vm_id: str | None = "vm",
        name: str | None = None,
        **more: Any,
    ) -> Operation:
        """Return a new operation."""
        return Operation(
            id=id,
            action=action,
            plan=more.pop("plan", (Step(Verb(action)),)),
            created_at=self._clock(),
            requested_by="anonymous",
            request_id="r",
            vm_id=vm_id,
            claimed_name=name,
            **more,
        )

    def over(self, operation: Operation, **more: Any) -> Operation:
        """Return an operation as it is at its end."""
        ended = {"status": OperationStatus.SUCCEEDED, "finished_at": self._clock(), **more}
        return replace(operation, **ended)


def tried(call: Callable[[], object], *refusals: type[Exception]) -> bool:
    try:
        call()
    except refusals:
        return False
    return True


def at_once(threads: int, call: Callable[[int], bool]) -> int:
    """Have so many threads do something at the same time; return how many succeed."""
    start = Barrier(threads)

    def run(number: int) -> bool:
        start.wait()
        return call(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads))).count(True)


class StoreSuite:
    """One suite for all stores."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def make(self, clock: Clock) -> Maker:
        return Maker(clock)

    # What there may be only one of

    def test_one_unfinished_operation_a_vm(self, store: OperationStore, make: Maker) -> None:
        store.add(make("1"))
        with pytest.raises(TaskInProgress, match="Another change of the VM is still under way"):
            store.add(make("2"))
        store.add(make("3", vm_id="other"))
        store.add(make("4", Action.CREATE, vm_id=None))
        store.add(make("5", Action.CREATE, vm_id=None))
        store.save(make.over(store.get("1")))
        store.add(make("6"))
        assert {found.id for found in store.mine()} == {"3", "4", "5", "6"}

    def test_what_is_refused_is_not_kept(self, store: OperationStore, make: Maker) -> None:
        store.add(make("1", Action.CREATE, None, "web"))
        with pytest.raises(NameTaken):
            store.add(make("2", Action.CREATE, None, "web", key=KEY))
        with pytest.raises(OperationNotFound):
            store.get("2")
        assert store.of_key(KEY) is None
        with store.lease("2") as held:
            assert not held or "2" not in {found.id for found in store.mine()}

    def test_a_delete_ends_what_is_under_way(
        self, store: OperationStore, make: Maker, clock: Clock
    ) -> None:
        store.add(make("1"))
        clock.sleep(1)
        store.add(make("2", Action.DELETE))
        ended = store.get("1")
        assert (ended.status, ended.finished_at) == (OperationStatus.SUPERSEDED, clock())
        assert ended.revision == 1
        with pytest.raises(StaleOperation):
            store.save(make.over(make("1")))
        with pytest.raises(StaleOperation):
            store.save(make.over(ended))
        clock.sleep(1)
        store.add(make("3", Action.DELETE))
        assert [found.id for found in store.mine()] == ["2", "3"]
        with pytest.raises(TaskInProgress, match="Another change of the VM is still under way"):
            store.add(make("4"))
        store.add(make("5", vm_id="other"))

    def test_a_delete_ends_nothing_else(self, store: OperationStore, make: Maker) -> None:
        store.add(make("1", vm_id="other"))
        store.add(make("2", Action.CREATE, vm_id=None))
        store.add(make("3"))
        store.save(make.over(store.get("3")))
        store.add(make("4", Action.DELETE))
        assert {found.id for found in store.mine()} == {"1", "2", "4"}
        assert store.get("3").status is OperationStatus.SUCCEEDED

    def test_the_newest_is_what_is_under_way(
        self, store: OperationStore, make: Maker, clock: Clock
    ) -> None:
        assert store.unfinished_of(["vm"]) == {}
        assert store.unfinished_of([]) == {}
        store.add(make("2", Action.DELETE))
        clock.sleep(1)
        store.add(make("1", Action.DELETE))
        store.add(make("3", vm_id="other"))
        store.add(make("4", Action.CREATE, vm_id=None))
        store.save(store.get("2"))
        assert store.unfinished_of(["vm"])["vm"].id == "1"
        found = store.unfinished_of(["vm", "other", "nobody"])
        assert {vm_id: each.id for vm_id, each in found.items()} == {"vm": "1", "other": "3"}

    # Names

    def holder(self, store: OperationStore, make: Maker, name: str) -> dict[str, object]:
        """Return who has a name, as the error says."""
        with pytest.raises(NameTaken) as caught:
            store.add(make("late", Action.CREATE, None, name))
        return dict(caught.value.extra)

    def made(self, store: OperationStore, make: Maker, name: str, vm_id: str) -> Operation:
        """Have a VM made."""
        store.add(make(f"create-{vm_id}", Action.CREATE, None, name))
        return store.save(make.over(replace(store.get(f"create-{vm_id}"), vm_id=vm_id)))

    def ended(
        self, store: OperationStore, make: Maker, operation: Operation, **more: Any
    ) -> Operation:
        """Have an operation begun and ended."""
        store.add(operation)
        return store.save(make.over(store.get(operation.id), **more))

    def test_a_name_is_claimed_while_it_is_given(self, store: OperationStore, make: Maker) -> None:
        store.add(make("1", Action.CREATE, None, "web"))
        with pytest.raises(NameTaken, match=r"^The name web is being given to another VM\.$"):
            store.add(make("2", Action.CREATE, None, "web"))
        assert self.holder(store, make, "web") == {"operation_id": "1"}
        store.add(make("3", Action.CREATE, None, "Web"))
        store.add(make("4", Action.CREATE, None, "web", project="another"))
        store.save(replace(store.get("1"), vm_id="vm-1"))
        assert self.holder(store, make, "web") == {"vm_id": "vm-1"}
        store.free_name("default", "web", "vm-1")
        assert self.holder(store, make, "web") == {"vm_id": "vm-1"}

    def test_a_name_is_its_vms_until_the_delete_has_succeeded(
        self, store: OperationStore, make: Maker
    ) -> None:
        self.made(store, make, "web", "vm-1")
        with pytest.raises(NameTaken, match=r"^VM vm-1 is called web already\.$"):
            store.add(make("2", Action.CREATE, None, "web"))
        failed = {"status": OperationStatus.FAILED}
        self.ended(store, make, make("3", Action.DELETE, "vm-1"), **failed)
        self.ended(store, make, make("4", Action.STOP, "vm-1"))
        self.ended(store, make, make("5", Action.DELETE, "vm-2"))
        assert self.holder(store, make, "web") == {"vm_id": "vm-1"}
        self.ended(store, make, make("6", Action.DELETE, "vm-1"))
        store.add(make("7", Action.CREATE, None, "web"))

    @pytest.mark.parametrize("vm_id", [None, "vm-1"])
    def test_a_create_that_failed_has_its_name_if_it_made_a_vm(
        self, store: OperationStore, make: Maker, vm_id: str | None
    ) -> None:
        failed = {"status": OperationStatus.FAILED, "vm_id": vm_id}
        self.ended(store, make, make("1", Action.CREATE, None, "web"), **failed)
        if vm_id:
            assert self.holder(store, make, "web") == {"vm_id": vm_id}
        else:
            store.add(make("2", Action.CREATE, None, "web"))

    def test_a_vm_that_is_renamed_gives_its_old_name_up(
        self, store: OperationStore, make: Maker
    ) -> None:
        self.made(store, make, "web", "vm-1")
        self.ended(
            store, make, make("2", Action.UPDATE, "vm-1", "db"), status=OperationStatus.FAILED
        )
        store.add(make("3", Action.UPDATE, "vm-1", "db"))
        assert self.holder(store, make, "db") == self.holder(store, make, "web")
        store.save(make.over(store.get("3")))
        assert self.holder(store, make, "db") == {"vm_id": "vm-1"}
        store.add(make("4", Action.CREATE, None, "web"))

    def test_a_name_that_is_the_vms_no_more_may_be_freed(
        self, store: OperationStore, make: Maker
    ) -> None:
        self.made(store, make, "web", "vm-1")
        store.free_name("default", "web", "vm-2")
        store.free_name("default", "db", "vm-1")
        store.free_name("another", "web", "vm-1")
        assert self.holder(store, make, "web") == {"vm_id": "vm-1"}
        store.free_name("default", "web", "vm-1")
        store.add(make("2", Action.CREATE, None, "web"))

    def test_what_a_delete_ends_keeps_its_name_until_the_vm_is_gone(
        self, store: OperationStore, make: Maker
    ) -> None:
        store.add(make("1", Action.CREATE, None, "web"))
        store.save(replace(store.get("1"), vm_id="vm"))
        store.add(make("2", Action.DELETE))
        assert store.get("1").status is OperationStatus.SUPERSEDED
        assert self.holder(store, make, "web") == {"vm_id": "vm"}
        store.save(make.over(store.get("2")))
        store.add(make("3", Action.CREATE, None, "web"))

    # What leaves no trace

    def test_a_discarded_one_was_never_there(self, store: OperationStore, make: Maker) -> None:
        operation = make("1", Action.CREATE, None, "web", key=KEY)
        store.add(operation)
        store.discard(operation, NameTaken("taken"))
        store.discard(operation, NameTaken("taken"))
        assert (store.find(ANYTHING, Paging()).items, store.mine()) == ([], [])
        assert store.of_key(KEY) is None
        store.add(make("2", Action.CREATE, None, "web", key=KEY))

    # How operations move on

    def test_save_moves_the_revision_and_refuses_old_ones(
        self, store: OperationStore, make: Maker
    ) -> None:
        store.add(make("1"))
        first = store.get("1")
        saved = store.save(replace(first, vm_id="a"))
        assert saved == replace(first, vm_id="a", revision=1) == store.get("1")
        with pytest.raises(StaleOperation):
            store.save(replace(first, vm_id="b"))
        over = store.save(make.over(saved))
        assert store.get("1") == over
        with pytest.raises(StaleOperation):
            store.save(over)
        with pytest.raises(StaleOperation):
            store.save(make("never added"))

    def test_all_that_is_kept_comes_back(
        self, store: OperationStore, make: Maker, clock: Clock
    ) -> None:
        clock.now += timedelta(microseconds=1)
        plan = (Step(Verb.RESUME), Step(Verb.STOP))
        changes = Changes(name="b", metadata={"a": None, "ü": "\u2028"})
        store.add(make("1", plan=plan, changes=changes, key=KEY, name="b"))
        assert store.get("1").created_at.microsecond == 1
        begun = clock() + timedelta(microseconds=999_998)
        sent = Step(Verb.RESUME, StepState.SENT, "req-é", begun)
        running = replace(
            store.get("1"), status=OperationStatus.RUNNING, started_at=begun
        ).with_step(sent)
        assert store.get("1") != store.save(running) == store.get("1")
        assert store.get("1").plan == (sent, Step(Verb.STOP))
        failure = Failure("no_capacity", "Full.", {"hint": "Wait.", "vm_id": None})
        failed = make.over(store.get("1"), status=OperationStatus.FAILED, error=failure)
        store.save(failed)
        assert store.get("1") == replace(failed, revision=2)
        assert store.get("1").created_at.tzinfo is not None

    def test_changes_that_set_nothing_are_changes(self, store: OperationStore, make: Maker) -> None:
        store.add(make("1", Action.UPDATE, changes=Changes()))
        assert store.get("1").changes == Changes()

    @pytest.mark.parametrize("id", ["x", "", "\0", "x" * 9999])
    def test_unknown(self, store: OperationStore, id: str) -> None:
        with pytest.raises(OperationNotFound, match=f"There is no operation {id}"):
            store.get(id)

    # Finding them

    def test_they_are_found_the_newest_first(
        self, store: OperationStore, make: Maker, clock: Clock
    ) -> None:
        store.add(make("b", vm_id="1"))
        store.add(make("a", vm_id="2"))
        clock.sleep(0.000_001)
        store.add(make("c", vm_id="3"))
        store.save(make.over(store.get("c")))
        clock.now -= timedelta(seconds=9)
        store.add(make("d", vm_id="4"))
        assert [found.id for found in store.find(ANYTHING, Paging()).items] == ["c", "b", "a", "d"]

    def test_what_is_to_be_carried_on_comes_oldest_first(
        self, store: OperationStore, make: Maker, clock: Clock
    ) -> None:
        for id in "cab":
            store.add(make(id, vm_id=id))
            clock.sleep(1)
        assert [found.id for found in store.mine()] == ["c", "a", "b"]

    @pytest.mark.parametrize(
        ("query", "ids"),
        [
            (OperationQuery(), "4321"),
            (OperationQuery(vm_id="vm"), "31"),
            (OperationQuery(vm_id="VM"), ""),
            (OperationQuery(action=Action.CREATE), "42"),
            (OperationQuery(status=OperationStatus.SUCCEEDED), "1"),
            (OperationQuery(status=OperationStatus.SUPERSEDED), ""),
            (OperationQuery(vm_id="vm", action=Action.STOP), "1"),
            (OperationQuery(key=KEY), "2"),
            (OperationQuery(key=replace(KEY, fingerprint="")), "2"),
            (OperationQuery(key=replace(KEY, caller="you")), ""),
            (OperationQuery(key=KEY, action=Action.STOP), ""),
        ],
    )
    def test_filters(
        self, store: OperationStore, make: Maker, clock: Clock, query: OperationQuery, ids: str
    ) -> None:
        store.add(make("1"))
        store.save(make.over(store.get("1")))
        clock.sleep(1)
        store.add(make("2", Action.CREATE, None, key=KEY))
        clock.sleep(1)
        store.add(make("3", Action.START))
        clock.sleep(1)
        store.add(make("4", Action.CREATE, None))
        page = store.find(query, Paging())
        assert ("".join(found.id for found in page.items), page.total) == (ids, len(ids))

    def test_pages(self, store: OperationStore, make: Maker, clock: Clock) -> None:
        for number in range(7):
            store.add(make(str(number), vm_id=str(number % 2 or number)))
            store.save(make.over(store.get(str(number))))
            clock.sleep(1)
        walked = []
        for number in (1, 2, 3, 4):
            page = store.find(ANYTHING, Paging(number, 3))
            walked.append("".join(found.id for found in page.items))
            assert (page.total, page.has_next) == (7, number < 3)
        assert walked == ["654", "321", "0", ""]
        odd = store.find(OperationQuery(vm_id="1"), Paging(1, 2))
        assert ([found.id for found in odd.items], odd.total) == (["5", "3"], 3)

    # Idempotency keys

    def test_a_key_is_bound_while_its_operation_is_kept(
        self, store: OperationStore, make: Maker
    ) -> None:
        assert store.of_key(KEY) is None
        store.add(make("1", key=KEY))
        with pytest.raises(KeyTaken):
            store.add(make("2", vm_id="other", key=KEY))
        with pytest.raises(KeyTaken):
            store.add(make("3", vm_id="other", key=replace(KEY, fingerprint="0" * 64)))
        # whose key it is comes before what its VM is busy with
        with pytest.raises(KeyTaken):
            store.add(make("4", key=KEY))
        store.save(make.over(store.get("1")))
        bound = store.of_key(replace(KEY, fingerprint="0" * 64))
        assert bound is not None
        assert (bound.id, bound.key) == ("1", KEY)
        with pytest.raises(KeyTaken):
            store.add(make("5", key=KEY))

    def test_a_key_is_its_callers_own(self, store: OperationStore, make: Maker) -> None:
        other = replace(KEY, caller="you")
        store.add(make("1", key=KEY))
        store.add(make("2", vm_id="other", key=other))
        store.add(make("3", vm_id="third", key=replace(KEY, value="K-1")))
        assert [each and each.id for each in map(store.of_key, (KEY, other))] == ["1", "2"]

    def test_a_key_that_is_freed_may_be_bound_again(
        self, store: OperationStore, make: Maker
    ) -> None:
        store.add(make("1", key=KEY))
        store.save(make.over(store.get("1"), status=OperationStatus.FAILED, key=None))
        assert store.of_key(KEY) is None
        store.add(make("2", key=KEY))
        bound = store.of_key(KEY)
        assert bound is not None
        assert bound.id == "2"

    def test_a_key_lives_for_a_day(self, store: OperationStore, make: Maker, clock: Clock) -> None:
        store.add(make("1", key=KEY))
        store.save(make.over(store.get("1")))
        clock.now += KEY_LIFE - timedelta(microseconds=1)
        assert store.of_key(KEY) is not None
        with pytest.raises(KeyTaken):
            store.add(make("2", key=KEY))
        clock.now += timedelta(microseconds=1)
        assert store.of_key(KEY) is None
        store.add(make("3", key=KEY))
        bound = store.of_key(KEY)
        assert bound is not None
        assert bound.id == "3"
        assert store.get("1").status is OperationStatus.SUCCEEDED
        assert [found.id for found in store.find(OperationQuery(key=KEY), Paging()).items] == ["3"]

    # Many at once

    def test_of_many_who_want_one_thing_one_gets_it(
        self, store: OperationStore, make: Maker
    ) -> None:
        numbers = count()

        def add(**wanted: Any) -> Callable[[int], bool]:
            refusals = (NameTaken, TaskInProgress, KeyTaken)
            return lambda _: tried(lambda: store.add(make(f"{next(numbers)}", **wanted)), *refusals)

        assert at_once(20, add(action=Action.CREATE, vm_id=None, name="web")) == 1
        assert at_once(20, add(action=Action.CREATE, vm_id=None, key=KEY)) == 1
        assert at_once(20, add()) == 1
        stop = store.unfinished_of(["vm"])["vm"]
        assert at_once(20, lambda _: tried(lambda: store.save(stop), StaleOperation)) == 1
        assert at_once(20, add(action=Action.DELETE)) == 20
        assert store.get(stop.id).status is OperationStatus.SUPERSEDED

    # Who carries them on

    def test_a_new_one_is_held_by_who_added_it(self, store: OperationStore, make: Maker) -> None:
        store.add(make("1"))
        with store.lease("1") as held:
            assert not held
        with store.lease("1", fresh=True) as held:
            assert held
        with store.lease("1") as held:
            assert held

    def test_one_at_a_time_holds_it(self, store: OperationStore, make: Maker) -> None:
        for id in "12":
            store.add(make(id, vm_id=id))
            with store.lease(id, fresh=True):
                pass
        with store.lease("1") as first, store.lease("1") as second, store.lease("2") as other:
            assert (first, second, other) == (True, False, True)
        with store.lease("1") as again:
            assert again

    def test_it_is_given_back_when_its_holder_fails(
        self, store: OperationStore, make: Maker
    ) -> None:
        store.add(make("1"))
        for fresh in (True, False):
            with pytest.raises(ZeroDivisionError), store.lease("1", fresh=fresh):
                raise ZeroDivisionError
        with store.lease("1") as again:
            assert again

    def test_who_is_to_carry_it_on_may(self, store: OperationStore, make: Maker) -> None:
        store.add(make("1"))
        for fresh in (True, False, False):
            assert [found.id for found in store.mine()] == ["1"]
            with store.lease("1", fresh=fresh) as held:
                assert held

    def test_of_many_who_would_carry_it_on_one_does(
        self, store: OperationStore, make: Maker
    ) -> None:
        store.add(make("1"))
        with store.lease("1", fresh=True):
            pass
        everybody = Barrier(20)

        def hold(_: int) -> bool:
            with store.lease("1") as held:
                everybody.wait()
                return held

        assert at_once(20, hold) == 1
