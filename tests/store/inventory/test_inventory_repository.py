"""The inventory keeps the newest observation, with what is under way laid over it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.factories import T0, VM_1
from tests.support.operation_factory import OperationFactory, run_concurrently
from vmapi.domain.lifecycle import Action, Status, Task
from vmapi.domain.operation import Operation, StepState
from vmapi.domain.pagination import PageRequest
from vmapi.domain.snapshot import VMSnapshot
from vmapi.domain.vm import VM, Address, Fault, VMQuery
from vmapi.errors import InternalError
from vmapi.store.database import Database
from vmapi.store.inventory.repository import InventoryRepository
from vmapi.store.operations.repository import OperationRepository

VM_ID = "vm"
SEEN = replace(
    VM_1,
    id=VM_ID,
    metadata={"é\n": "\U0001f600"},
    addresses=(Address("private", "10.0.0.2", 4, "fixed"),),
    security_groups=("default", "web"),
    key_name="k",
)
STOPPED = replace(SEEN, status=Status.STOPPED, backend_status="SHUTOFF")
LATER = timedelta(seconds=1)


@pytest.fixture
def inventory(database: Database) -> InventoryRepository:
    return InventoryRepository(database)


def shown(inventory: InventoryRepository) -> VMSnapshot:
    found = inventory.get(VM_ID)
    assert found is not None
    return found


def under(inventory: InventoryRepository) -> tuple[Status, Task | None]:
    vm = shown(inventory).vm
    return vm.status, vm.task


def sent(operation: Operation) -> Operation:
    assert operation.step is not None
    step = replace(operation.step, state=StepState.ACCEPTED, request_id="r")
    return replace(operation.with_step(step), vm_id=VM_ID)


def save_created(store: OperationRepository, operation: Operation) -> Operation:
    """Save that the cloud has accepted a create, with the VM to expect."""
    expected_vm = replace(SEEN, status=Status.BUILDING, task=Task.CREATING, addresses=())
    return store.save_accepted(sent(operation), expected_vm)[0]


@pytest.mark.parametrize(
    "vm",
    [SEEN, STOPPED, replace(SEEN, image=None, fault=Fault("backend_error", "\0 odd", "look"))],
)
def test_what_is_kept_is_what_was_seen(inventory: InventoryRepository, vm: VM) -> None:
    assert inventory.save_observations([vm], inventory.observation_time()) == {VM_ID}
    found = shown(inventory)
    assert (found.vm, found.revision) == (vm, 1)
    assert 0 <= found.age_seconds < 5


def test_a_look_that_began_later_is_newer_whatever_the_cloud_says(
    inventory: InventoryRepository,
) -> None:
    inventory.save_observations([SEEN], inventory.observation_time())
    older = replace(STOPPED, updated_at=T0 - 60 * LATER)
    assert inventory.save_observations([older], inventory.observation_time()) == {VM_ID}
    assert shown(inventory).vm == older


@pytest.mark.parametrize(("change", "kept"), [(-LATER, False), (LATER, True)])
def test_of_two_that_overlap_what_changed_later_is_newer(
    inventory: InventoryRepository, change: timedelta, *, kept: bool
) -> None:
    begun = inventory.observation_time()
    inventory.save_observations([SEEN], inventory.observation_time() + 1)
    other = replace(STOPPED, updated_at=T0 + change)
    assert inventory.save_observations([other], begun - 1) == ({VM_ID} if kept else set())
    assert shown(inventory).vm == (other if kept else SEEN)


def test_of_two_that_overlap_within_a_second_the_one_that_rests_is_newer(
    inventory: InventoryRepository,
) -> None:
    starting = replace(STOPPED, task=Task.STARTING)
    for first, second, kept in ((SEEN, starting, set()), (starting, SEEN, {VM_ID})):
        begun = inventory.observation_time()
        inventory.save_observations([first], begun)
        # begun later, and answered with what was before
        assert inventory.save_observations([second], begun + 1) == kept
        assert shown(inventory).vm == SEEN
        inventory.save_observations(
            [replace(STOPPED, updated_at=T0 - LATER)], inventory.observation_time()
        )


def test_a_look_from_before_an_operation_was_over_tells_nothing(
    inventory: InventoryRepository, store: OperationRepository, make: OperationFactory
) -> None:
    inventory.save_observations([STOPPED], inventory.observation_time())
    store.add(make("1", Action.START, VM_ID))
    store.save(sent(store.get("1")))
    begun = inventory.observation_time()
    inventory.save_observations([SEEN], inventory.observation_time())
    store.save(make.finished(store.get("1")))
    late = replace(STOPPED, updated_at=T0 + LATER)
    assert inventory.save_observations([late], begun) == set()
    assert under(inventory) == (Status.RUNNING, None)


def test_what_was_deleted_does_not_come_back_by_a_look_from_before(
    inventory: InventoryRepository,
) -> None:
    inventory.save_observations([SEEN], inventory.observation_time())
    begun = inventory.observation_time() - 1
    inventory.mark_deleted(VM_ID, T0, inventory.observation_time())
    assert inventory.save_observations([replace(SEEN, updated_at=T0 + LATER)], begun) == set()
    assert inventory.get(VM_ID) is None
    # a look that began after that is believed: the cloud can give back what was deleted softly
    assert inventory.save_observations([SEEN], inventory.observation_time()) == {VM_ID}
    assert shown(inventory).vm == SEEN


def test_what_is_gone_is_gone_though_a_look_overlapped(inventory: InventoryRepository) -> None:
    inventory.save_observations([SEEN], inventory.observation_time())
    told = inventory.observation_time()
    inventory.save_observations([SEEN], told)
    inventory.mark_deleted(VM_ID, T0, told)
    assert inventory.get(VM_ID) is None
    inventory.mark_deleted("nobody", T0, inventory.observation_time())


def test_a_list_that_tells_of_one_twice(inventory: InventoryRepository) -> None:
    assert inventory.save_observations([SEEN, STOPPED], inventory.observation_time()) == {VM_ID}
    assert shown(inventory).vm == STOPPED


def test_what_a_cell_that_is_down_cannot_tell_stays(inventory: InventoryRepository) -> None:
    inventory.save_observations([SEEN], inventory.observation_time())
    fault = Fault("backend_error", "The cloud says UNKNOWN of this VM.", "Look again later.")
    told = VM(VM_ID, VM_ID, "", None, Status.ERROR, T0, T0, "UNKNOWN", fault=fault)
    for _ in range(2):
        inventory.save_observations([told], inventory.observation_time())
        expected = replace(SEEN, status=Status.ERROR, backend_status="UNKNOWN", fault=fault)
        assert (shown(inventory).vm, shown(inventory).revision) == (expected, 2)
    inventory.save_observations([SEEN], inventory.observation_time())
    assert shown(inventory).vm == SEEN


def test_the_revision_moves_when_what_is_shown_does(
    inventory: InventoryRepository, store: OperationRepository, make: OperationFactory
) -> None:
    revisions = []
    for vm in (SEEN, SEEN, STOPPED, STOPPED):
        inventory.save_observations([vm], inventory.observation_time())
        revisions.append(shown(inventory).revision)
    store.add(make("1", Action.START, VM_ID))
    revisions.append(shown(inventory).revision)
    inventory.save_observations([STOPPED], inventory.observation_time())
    store.save(make.finished(store.get("1")))
    inventory.save_observations([STOPPED], inventory.observation_time())
    revisions.append(shown(inventory).revision)
    assert revisions == [1, 1, 2, 2, 3, 4]


def test_what_is_under_way_is_laid_over_what_is_seen(
    inventory: InventoryRepository, store: OperationRepository, make: OperationFactory
) -> None:
    inventory.save_observations([STOPPED], inventory.observation_time())
    store.add(make("1", Action.START, VM_ID))
    assert under(inventory) == (Status.STOPPED, Task.STARTING)
    inventory.save_observations([SEEN], inventory.observation_time())
    assert under(inventory) == (Status.RUNNING, Task.STARTING)
    store.add(make("2", Action.DELETE, VM_ID))
    assert under(inventory) == (Status.RUNNING, Task.DELETING)
    store.save(make.finished(store.get("2")))
    assert under(inventory) == (Status.RUNNING, None)


def test_what_was_refused_shows_no_task(
    inventory: InventoryRepository, store: OperationRepository, make: OperationFactory
) -> None:
    inventory.save_observations([SEEN], inventory.observation_time())
    rename = make("1", Action.UPDATE, VM_ID, "web-2")
    store.add(rename)
    assert under(inventory) == (Status.RUNNING, Task.UPDATING)
    store.discard(rename, InternalError(""))
    assert under(inventory) == (Status.RUNNING, None)


def test_a_look_from_before_the_cloud_took_a_change_on_tells_nothing(
    inventory: InventoryRepository, store: OperationRepository, make: OperationFactory
) -> None:
    inventory.save_observations([STOPPED], inventory.observation_time())
    store.add(make("1", Action.START, VM_ID))
    begun = inventory.observation_time() - 1
    store.save(sent(store.get("1")))
    assert inventory.save_observations([replace(STOPPED, updated_at=T0 + LATER)], begun) == set()
    assert inventory.save_observations([SEEN], inventory.observation_time()) == {VM_ID}


def test_a_vm_that_is_seen_before_it_is_known_whose_it_is(
    inventory: InventoryRepository, store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1", Action.CREATE, None, "web-1"))
    inventory.save_observations([SEEN], inventory.observation_time())
    assert under(inventory) == (Status.RUNNING, None)
    store.save(sent(store.get("1")))
    assert under(inventory) == (Status.BUILDING, Task.CREATING)
    building = VMQuery(statuses=frozenset({Status.BUILDING}))
    assert inventory.list_page(building, PageRequest(), T0).page.total == 1


def test_a_vm_that_was_just_ordered_is_there_until_it_is_seen(
    inventory: InventoryRepository, store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1", Action.CREATE, None, "web-1"))
    begun = inventory.observation_time()
    save_created(store, store.get("1"))
    assert under(inventory) == (Status.BUILDING, Task.CREATING)
    assert inventory.save_observations([replace(SEEN, updated_at=T0 + LATER)], begun) == set()
    assert inventory.save_observations([SEEN], inventory.observation_time()) == {VM_ID}
    store.save(make.finished(store.get("1")))
    assert shown(inventory).vm == SEEN


def test_a_vm_keeps_the_place_that_it_had_first(
    inventory: InventoryRepository, store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1", Action.CREATE, None, "web-1"))
    save_created(store, store.get("1"))
    inventory.save_observations(
        [replace(SEEN, created_at=T0 - LATER)], inventory.observation_time()
    )
    assert shown(inventory).vm.created_at == T0
    older = VMQuery(created_before=T0)
    assert inventory.list_page(older, PageRequest(), T0).page.total == 0


def test_a_look_that_is_first_to_see_a_new_vm(
    inventory: InventoryRepository, store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1", Action.CREATE, None, "web-1"))
    inventory.save_observations([SEEN], inventory.observation_time())
    assert save_created(store, store.get("1")).revision == store.get("1").revision
    assert under(inventory) == (Status.BUILDING, Task.CREATING)
    assert shown(inventory).vm.addresses == SEEN.addresses


def test_who_was_not_shown_is_named(inventory: InventoryRepository) -> None:
    inventory.save_observations(
        [replace(SEEN, id=each) for each in "abc"], inventory.observation_time()
    )
    begun = inventory.observation_time() + 1
    inventory.save_observations([replace(SEEN, id="b")], begun)
    inventory.mark_deleted("c", T0, begun)
    assert inventory.ids_not_observed_since(begun) == ["a"]


def test_the_age_is_that_of_the_last_look(inventory: InventoryRepository) -> None:
    everyone = (VMQuery(), PageRequest(), T0)
    assert inventory.list_page(*everyone).age_seconds is None
    inventory.save_observations([SEEN], inventory.observation_time() - 100_000_000)
    assert 100 <= shown(inventory).age_seconds < 105
    inventory.mark_full_sync(inventory.observation_time() - 60_000_000)
    for age in (60, 20):
        assert age <= shown(inventory).age_seconds < age + 5
        listed = inventory.list_page(*everyone).age_seconds
        assert listed is not None
        assert age <= listed < age + 5
        inventory.mark_changes_synced(inventory.observation_time() - 20_000_000)


def test_processes_that_look_at_once(connect: Callable[[], Database]) -> None:
    inventories = [InventoryRepository(connect()) for _ in range(4)]
    ids = [f"{number:036}" for number in range(40)]

    def look(number: int) -> bool:
        inventory = inventories[number]
        for turn in range(5):
            order = ids[:: -1 if number % 2 else 1]
            drawn = [
                replace(SEEN, id=each, updated_at=T0 + turn * LATER, name=f"{turn}")
                for each in order[: 10 * (turn + 1)]
            ]
            inventory.save_observations(drawn, inventory.observation_time())
        return True

    assert run_concurrently(4, look) == 4
    listing = inventories[0].list_page(VMQuery(), PageRequest(1, 100), T0)
    assert {vm.id: vm.name for vm in listing.vms} == dict.fromkeys(ids, "4")
