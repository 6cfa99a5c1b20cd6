"""The values of the domain and the rules over them."""

from dataclasses import replace

import pytest

from tests.support.factories import OPERATION_1, VM_1
from vmapi.domain.access.identity import CallerToken
from vmapi.domain.lifecycle import Verb
from vmapi.domain.operation import NewOperation, OperationStatus, Step, StepState
from vmapi.domain.vm import Address, CreateRequest, CreateSpec, VMPatch
from vmapi.errors import ValidationFailed
from vmapi.services.operations import preconditions

FIXED_4 = Address("private", "198.18.0.2", 4, "fixed")
LATER_FIXED_4 = Address("other", "198.19.0.2", 4, "fixed")
FLOATING_4 = Address("private", "203.0.113.9", 4, "floating")
FIXED_6 = Address("private", "2001:db8::2", 6, "fixed")


@pytest.mark.parametrize(
    ("addresses", "ip"),
    [
        ((), None),
        ((FIXED_6,), "2001:db8::2"),
        ((FIXED_6, FIXED_4), "198.18.0.2"),
        ((LATER_FIXED_4, FIXED_4), "198.19.0.2"),
        ((FIXED_6, FIXED_4, FLOATING_4), "203.0.113.9"),
        ((FLOATING_4, FIXED_4), "203.0.113.9"),
    ],
)
def test_ip_address_prefers_floating_ipv4(addresses: tuple[Address, ...], ip: str | None) -> None:
    assert replace(VM_1, addresses=addresses).ip_address == ip


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
def test_patch_merges_metadata_as_rfc_7396(
    before: dict[str, str], patch: dict[str, str | None], after: dict[str, str]
) -> None:
    unchanged = dict(before)
    assert VMPatch(metadata=patch).applied_to(before) == after
    assert before == unchanged


def test_metadata_limit_applies_after_the_merge() -> None:
    full = replace(VM_1, metadata={str(n): "" for n in range(127)})
    preconditions.check_changes(full, VMPatch(metadata={"0": None, "new": ""}))
    with pytest.raises(ValidationFailed) as caught:
        preconditions.check_changes(full, VMPatch(metadata={"new": ""}))
    message = "With this the VM would have 128 pairs; at most 127 are allowed."
    assert caught.value.extra == {"errors": [{"pointer": "/metadata", "message": message}]}


def test_reprs_hide_secrets() -> None:
    spec = CreateSpec("web-1", "f", "i", None, {}, b"hunter2", None, ())
    request = CreateRequest("web-1", "f", "i", user_data="hunter2")
    operation = replace(OPERATION_1, patch=VMPatch(metadata={"k": "hunter2"}))
    new = NewOperation(operation, VM_1, spec, CallerToken("hunter2", "p1"))
    assert "hunter2" not in repr(spec) + repr(request) + repr(operation) + repr(new)


def test_current_step_is_the_first_unfinished_one() -> None:
    assert OPERATION_1.step == Step(Verb.RESUME)
    second = OPERATION_1.with_step(Step(Verb.RESUME, StepState.DONE))
    assert second.step == Step(Verb.STOP)
    sent = second.with_step(Step(Verb.STOP, StepState.ACCEPTED))
    assert sent.steps == (Step(Verb.RESUME, StepState.DONE), Step(Verb.STOP, StepState.ACCEPTED))
    assert sent.with_step(Step(Verb.STOP, StepState.DONE)).step is None
    assert OPERATION_1.steps == (Step(Verb.RESUME), Step(Verb.STOP))


@pytest.mark.parametrize("status", OperationStatus)
def test_final_statuses_are_finished(status: OperationStatus) -> None:
    ends = {"succeeded", "failed", "superseded"}
    assert replace(OPERATION_1, status=status).is_finished is (status in ends)
