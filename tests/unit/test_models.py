"""The values of the domain and the rules over them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from vmapi.errors import ValidationFailed
from vmapi.models.lifecycle import Action, Status, Verb
from vmapi.models.operation import Operation, OperationStatus, Step, StepState
from vmapi.models.page import Paging, VMQuery
from vmapi.models.vm import VM, Address, Changes, CreateRequest, CreateSpec
from vmapi.services import guard

MOMENT = datetime(2026, 2, 25, 10, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
MACHINE = VM(
    id="1",
    name="web-1",
    flavor="m1.tiny",
    image="cirros",
    status=Status.RUNNING,
    created_at=MOMENT,
    updated_at=MOMENT,
    backend_status="ACTIVE",
)
FIXED_4 = Address("private", "10.0.0.2", 4, "fixed")
LATER_FIXED_4 = Address("other", "10.9.0.2", 4, "fixed")
FLOATING_4 = Address("private", "203.0.113.9", 4, "floating")
FIXED_6 = Address("private", "2001:db8::2", 6, "fixed")


@pytest.mark.parametrize(
    ("addresses", "ip"),
    [
        ((), None),
        ((FIXED_6,), "2001:db8::2"),
        ((FIXED_6, FIXED_4), "10.0.0.2"),
        ((LATER_FIXED_4, FIXED_4), "10.9.0.2"),
        ((FIXED_6, FIXED_4, FLOATING_4), "203.0.113.9"),
        ((FLOATING_4, FIXED_4), "203.0.113.9"),
    ],
)
def test_the_address_to_reach_a_vm_at(addresses: tuple[Address, ...], ip: str | None) -> None:
    assert replace(MACHINE, addresses=addresses).ip_address == ip


@pytest.mark.parametrize(
    ("before", "patch", "after"),
    [
        ({}, {}, {}),
        ({"a": "1"}, {}, {"a": "1"}),
        ({"a": "1"}, {"a": "2"}, {"a": "2"}),
        ({"a": "1"}, {"b": "2"}, {"a": "1", "b": "2"}),
        ({"a": "1", "b": "2"}, {"a": None}, {"b": "2"}),
        ({"a": "1"}, {"b": None}, {"a": "1"}),
        ({"a": "1"}, {"a": ""}, {"a": ""}),
    ],
)
def test_changes_merge_as_rfc_7396_says(
    before: dict[str, str], patch: dict[str, str | None], after: dict[str, str]
) -> None:
    kept = dict(before)
    assert Changes(metadata=patch).applied_to(before) == after
    assert before == kept


def test_too_much_metadata_is_counted_after_the_merge() -> None:
    full = replace(MACHINE, metadata={str(n): "" for n in range(128)})
    guard.check_changes(full, Changes(metadata={"0": None, "new": ""}))
    with pytest.raises(ValidationFailed) as caught:
        guard.check_changes(full, Changes(metadata={"new": ""}))
    message = "With this the VM would have 129 pairs; at most 128 are allowed."
    assert caught.value.extra == {"errors": [{"pointer": "/metadata", "message": message}]}


def test_secrets_are_not_in_reprs() -> None:
    spec = CreateSpec("web-1", "f", "i", None, {}, b"hunter2", None, ())
    request = CreateRequest("web-1", "f", "i", user_data="hunter2")
    operation = replace(OPERATION, spec=spec, changes=Changes(metadata={"k": "hunter2"}))
    assert "hunter2" not in repr(spec) + repr(request) + repr(operation)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (VMQuery(), True),
        (VMQuery(statuses=frozenset({Status.RUNNING, Status.ERROR})), True),
        (VMQuery(statuses=frozenset({Status.ERROR})), False),
        (VMQuery(name="web-1"), True),
        (VMQuery(name="web"), False),
        (VMQuery(name="WEB-1"), False),
        (VMQuery(name="web*"), True),
        (VMQuery(name="*"), True),
        (VMQuery(name="Web*"), False),
        (VMQuery(name="web-1*"), True),
        (VMQuery(name="web-12*"), False),
        (VMQuery(name="%"), False),
        (VMQuery(flavor="m1.tiny"), True),
        (VMQuery(flavor="m1"), False),
        (VMQuery(image="cirros"), True),
        (VMQuery(image="debian-12"), False),
        (VMQuery(created_after=MOMENT - HOUR), True),
        (VMQuery(created_after=MOMENT), False),
        (VMQuery(created_before=MOMENT + HOUR), True),
        (VMQuery(created_before=MOMENT), False),
        (VMQuery(updated_after=MOMENT - HOUR), True),
        (VMQuery(updated_after=MOMENT), False),
        (VMQuery(name="web-1", flavor="m1.huge"), False),
    ],
)
def test_what_a_query_matches(query: VMQuery, found: bool) -> None:
    assert query.matches(MACHINE) is found


def test_a_vm_from_a_volume_has_no_image_to_match() -> None:
    assert not VMQuery(image="cirros").matches(replace(MACHINE, image=None))


SORTED = {
    "created_at": "1234",
    "-created_at": "4321",
    "name": "1243",
    "-name": "3421",
    "updated_at": "2341",
    "-updated_at": "1432",
}


@pytest.mark.parametrize(("sort", "ids"), SORTED.items())
def test_sorting(sort: str, ids: str) -> None:
    rows = (("1", "a", 0, 9), ("2", "b", 1, 0), ("3", "d", 2, 1), ("4", "b", 2, 1))
    vms = [
        replace(
            MACHINE, id=id, name=name, created_at=MOMENT + c * HOUR, updated_at=MOMENT + u * HOUR
        )
        for id, name, c, u in rows
    ]
    assert "".join(vm.id for vm in VMQuery(sort=sort).select(vms)) == ids
    assert "".join(vm.id for vm in VMQuery(sort=sort).select(vms[::-1])) == ids


@pytest.mark.parametrize(
    ("paging", "items", "has_next"),
    [
        (Paging(), list(range(7)), False),
        (Paging(1, 3), [0, 1, 2], True),
        (Paging(2, 3), [3, 4, 5], True),
        (Paging(3, 3), [6], False),
        (Paging(4, 3), [], False),
        (Paging(1, 7), list(range(7)), False),
        (Paging(1, 6), list(range(6)), True),
    ],
)
def test_pages(paging: Paging, items: list[int], has_next: bool) -> None:
    page = paging.of(range(7))
    assert (list(page.items), page.total, page.has_next) == (items, 7, has_next)


def test_pages_end_where_page_cannot_reach() -> None:
    many = range(20_000)
    assert Paging(9, 1000).of(many).has_next
    assert not Paging(10, 1000).of(many).has_next
    assert not Paging(3, 3000).of(many).has_next


OPERATION = Operation(
    id="o",
    action=Action.STOP,
    plan=(Step(Verb.RESUME), Step(Verb.STOP)),
    created_at=MOMENT,
    requested_by="anonymous",
    request_id="r",
    vm_id="1",
)


def test_the_present_step_is_the_first_that_is_not_done() -> None:
    assert OPERATION.step == Step(Verb.RESUME)
    second = OPERATION.with_step(Step(Verb.RESUME, StepState.DONE))
    assert second.step == Step(Verb.STOP)
    sent = second.with_step(Step(Verb.STOP, StepState.SENT))
    assert sent.plan == (Step(Verb.RESUME, StepState.DONE), Step(Verb.STOP, StepState.SENT))
    assert sent.with_step(Step(Verb.STOP, StepState.DONE)).step is None
    assert OPERATION.plan == (Step(Verb.RESUME), Step(Verb.STOP))


@pytest.mark.parametrize("status", OperationStatus)
def test_which_statuses_are_ends(status: OperationStatus) -> None:
    ends = {"succeeded", "failed", "superseded"}
    assert replace(OPERATION, status=status).finished is (status in ends)
