"""Rendered documents have the shape of their schemas."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from marshmallow import Schema

from tests.support.factories import OPERATION_1, VM_1
from vmapi.api import responses
from vmapi.api.openapi.examples import OPERATION_ID, VM_ID
from vmapi.api.problems.types import PROBLEM_TYPES
from vmapi.api.schemas.operations import OperationSchema
from vmapi.api.schemas.vms import VMSchema, VMStateSchema
from vmapi.domain.lifecycle import Action, Status, Task
from vmapi.domain.operation import Operation, OperationError, OperationStatus
from vmapi.domain.vm import VM, Address, Fault

FULL = replace(
    VM_1,
    id=VM_ID,
    task=Task.STOPPING,
    addresses=(
        Address("private", "198.18.0.2", 4, "fixed"),
        Address("p", "2001:db8::1", 6, "floating"),
    ),
    metadata={"env": "prod"},
    key_name="demo",
    security_groups=("default", "web"),
    fault=Fault("no_capacity", "No valid host was found.", "Try later."),
    updated_at=datetime(2026, 2, 25, 10, 35, 0, 12_000, tzinfo=UTC),
)
BARE = replace(VM_1, id=VM_ID, image=None, locked=True)
VMS = [
    FULL,
    BARE,
    *(replace(FULL, status=status, task=None) for status in Status),
    *(replace(BARE, task=task) for task in Task),
]
PENDING = replace(OPERATION_1, id=OPERATION_ID, vm_id=None)
FINISHED = replace(
    PENDING,
    vm_id=VM_ID,
    started_at=PENDING.created_at,
    finished_at=FULL.updated_at,
)
EXTRA = {
    "hint": "Try later.",
    "current_status": Status.ERROR,
    "task": None,
    "allowed_actions": (Action.RESTART, Action.DELETE),
    "operation_id": OPERATION_ID,
    "errors": [{"pointer": "/name", "message": "no"}],
}
OPERATIONS = [
    PENDING,
    *(replace(FINISHED, status=status) for status in OperationStatus),
    *(replace(FINISHED, action=action) for action in Action),
    *(replace(FINISHED, error=OperationError(code, "why")) for code in PROBLEM_TYPES),
    replace(FINISHED, error=OperationError("invalid_state", "why", EXTRA)),
    replace(
        FINISHED, error=OperationError("task_in_progress", "why", {**EXTRA, "task": Task.STOPPING})
    ),
    replace(FINISHED, error=OperationError("name_taken", "why", {"vm_id": VM_ID})),
]


pytestmark = pytest.mark.usefixtures("app")


def check(rendered: Any, schema: Schema, component: str, document: Any) -> None:
    """Check a document against the OpenAPI document and the schema."""
    document_json = json.loads(json.dumps(rendered))
    schema_reference = {
        "$ref": f"#/components/schemas/{component}",
        "components": document["components"],
    }
    Draft202012Validator(schema_reference, format_checker=FormatChecker()).validate(document_json)
    assert schema.validate(document_json) == {}
    assert list(document_json) == list(schema.fields)


@pytest.mark.parametrize("vm", VMS)
def test_vm_document_matches_schema(vm: VM, document: Any) -> None:
    check(responses.vm_document(vm), VMSchema(), "VM", document)
    check(responses.vm_status_document(vm), VMStateSchema(), "VMState", document)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operation_document_matches_schema(operation: Operation, document: Any) -> None:
    check(responses.operation_document(operation), OperationSchema(), "Operation", document)


def test_schema_check_detects_deviations(document: Any) -> None:
    for change in ({"status": "GONE"}, {"task": "STOPPING"}, {"more": 1}, {"id": "1"}):
        with pytest.raises(Exception, match=str(next(iter(change.values())))):
            check({**responses.vm_document(FULL), **change}, VMSchema(), "VM", document)


def test_vm_document_has_every_member() -> None:
    assert json.loads(json.dumps(responses.vm_document(FULL))) == {
        "id": VM_ID,
        "name": "web-1",
        "flavor": "m1.tiny",
        "image": "cirros",
        "status": "RUNNING",
        "task": "stopping",
        "allowed_actions": ["delete"],
        "ip_address": "198.18.0.2",
        "addresses": [
            {"network": "private", "ip": "198.18.0.2", "version": 4, "type": "fixed"},
            {"network": "p", "ip": "2001:db8::1", "version": 6, "type": "floating"},
        ],
        "metadata": {"env": "prod"},
        "key_name": "demo",
        "security_groups": ["default", "web"],
        "locked": False,
        "fault": {
            "code": "no_capacity",
            "message": "No valid host was found.",
            "hint": "Try later.",
        },
        "backend_status": "ACTIVE",
        "created_at": "2026-02-25T10:30:00Z",
        "updated_at": "2026-02-25T10:35:00.012000Z",
    }


def test_operation_error_is_a_problem_document() -> None:
    failed = replace(FINISHED, error=OperationError("invalid_state", "why", EXTRA))
    assert json.loads(json.dumps(responses.operation_document(failed)["error"])) == {
        "type": "/problems/invalid_state",
        "title": "The state of the VM does not allow this action",
        "status": 409,
        "code": "invalid_state",
        "detail": "why",
        "hint": "Try later.",
        "current_status": "ERROR",
        "task": None,
        "allowed_actions": ["restart", "delete"],
        "operation": f"/api/v1/operations/{OPERATION_ID}",
        "errors": [{"pointer": "/name", "message": "no"}],
    }
