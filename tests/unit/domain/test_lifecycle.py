"""Lifecycle tests: every combination of status, action and task against a table."""

from datetime import UTC, datetime
from itertools import product

import pytest

from vmapi.domain.lifecycle import (
    TARGET_STATUS_BY_VERB,
    Action,
    Status,
    Task,
    Verb,
    allowed_actions,
    statuses_allowing,
)
from vmapi.domain.vm import VM
from vmapi.errors import InvalidState, TaskInProgress, VmapiError, VMLocked
from vmapi.services.operations import preconditions

# action: {status: plan}, as in API.md; an update changes no status
ALLOWED: dict[str, dict[str, list[str]]] = {
    "create": {},
    "start": {"STOPPED": ["start"]},
    "stop": {"RUNNING": ["stop"], "PAUSED": ["resume", "stop"]},
    "restart": {"RUNNING": ["restart_soft"], "ERROR": ["restart_hard"]},
    "pause": {"RUNNING": ["pause"]},
    "resume": {"PAUSED": ["resume"]},
    "update": {"STOPPED": ["update"], "RUNNING": ["update"], "PAUSED": ["update"]},
    "delete": {
        "BUILDING": ["delete"],
        "STOPPED": ["delete"],
        "RUNNING": ["delete"],
        "PAUSED": ["delete"],
        "ERROR": ["delete"],
    },
}
ALLOWED_ACTIONS = {
    "BUILDING": ["delete"],
    "STOPPED": ["start", "delete"],
    "RUNNING": ["stop", "restart", "pause", "delete"],
    "PAUSED": ["stop", "resume", "delete"],
    "ERROR": ["restart", "delete"],
    "DELETED": [],
}
GRID = list(product(Status, [None, *Task], (False, True), (False, True)))
CREATED_AT = datetime(2026, 2, 25, 10, 30, tzinfo=UTC)


def vm(status: Status, task: Task | None, locked: bool, launched: bool) -> VM:
    return VM(
        id="1",
        name="web-1",
        flavor="m1.tiny",
        image="cirros",
        status=status,
        created_at=CREATED_AT,
        updated_at=CREATED_AT,
        backend_status="ACTIVE",
        task=task,
        locked=locked,
        launched=launched,
    )


def refusal(action: Action, observed_vm: VM) -> type[VmapiError] | None:
    """Return the expected refusal of a combination."""
    if observed_vm.locked:
        return VMLocked
    if observed_vm.task is not None and action is not Action.DELETE:
        return TaskInProgress
    if observed_vm.status not in ALLOWED[action]:
        return InvalidState
    was_never_launched = observed_vm.status is Status.ERROR and not observed_vm.launched
    return InvalidState if action is Action.RESTART and was_never_launched else None


def test_expected_table_covers_every_action_and_status() -> None:
    assert list(ALLOWED) == list(Action)
    assert set(ALLOWED_ACTIONS) == set(Status)


@pytest.mark.parametrize("action", Action)
def test_every_cell_of_the_grid_is_accepted_or_refused(action: Action) -> None:
    for cell in GRID:
        observed_vm = vm(*cell)
        refused = refusal(action, observed_vm)
        if refused is None:
            plan = [step.verb for step in preconditions.plan_steps(observed_vm, action)]
            assert plan == ALLOWED[action][observed_vm.status], (action, cell)
            continue
        with pytest.raises(refused) as caught:
            preconditions.plan_steps(observed_vm, action)
        assert caught.type is refused
        assert caught.value.extra == {
            "current_status": observed_vm.status,
            "task": observed_vm.task,
            "allowed_actions": observed_vm.allowed_actions,
        }


@pytest.mark.parametrize("status", Status)
def test_allowed_actions_are_the_accepted_ones(status: Status) -> None:
    for cell in GRID:
        if cell[0] is not status:
            continue
        observed_vm = vm(*cell)
        accepted = [action for action in Action if refusal(action, observed_vm) is None]
        expected = [action for action in accepted if action is not Action.UPDATE]
        assert list(observed_vm.allowed_actions) == expected


@pytest.mark.parametrize(("status", "actions"), ALLOWED_ACTIONS.items())
def test_allowed_actions_of_an_idle_vm(status: str, actions: list[str]) -> None:
    assert list(allowed_actions(Status(status))) == actions
    assert list(allowed_actions(Status(status), Task.OTHER)) == [
        action for action in actions if action == "delete"
    ]
    assert allowed_actions(Status(status), locked=True) == ()


def test_vm_that_was_never_launched_cannot_be_restarted() -> None:
    assert allowed_actions(Status.ERROR, launched=False) == (Action.DELETE,)


@pytest.mark.parametrize(
    ("status", "hard", "verb"),
    [
        (Status.RUNNING, None, Verb.RESTART_SOFT),
        (Status.RUNNING, False, Verb.RESTART_SOFT),
        (Status.RUNNING, True, Verb.RESTART_HARD),
        (Status.ERROR, None, Verb.RESTART_HARD),
        (Status.ERROR, True, Verb.RESTART_HARD),
    ],
)
def test_restart_is_soft_or_hard_as_requested(
    status: Status, hard: bool | None, verb: Verb
) -> None:
    (step,) = preconditions.plan_steps(vm(status, None, False, True), Action.RESTART, hard=hard)
    assert step.verb is verb


def test_soft_restart_of_an_error_is_refused() -> None:
    broken = vm(Status.ERROR, None, False, True)
    with pytest.raises(InvalidState, match="only a restart of type hard can heal it"):
        preconditions.plan_steps(broken, Action.RESTART, hard=False)


@pytest.mark.parametrize(
    ("action", "status", "detail"),
    [
        (Action.PAUSE, Status.STOPPED, "VM web-1 is STOPPED; pause needs RUNNING."),
        (Action.STOP, Status.STOPPED, "VM web-1 is STOPPED; stop needs RUNNING or PAUSED."),
        (Action.RESTART, Status.PAUSED, "VM web-1 is PAUSED; restart needs RUNNING or ERROR."),
    ],
)
def test_refusal_names_the_allowed_statuses(action: Action, status: Status, detail: str) -> None:
    with pytest.raises(InvalidState) as caught:
        preconditions.plan_steps(vm(status, None, False, True), action)
    assert caught.value.detail == detail


def test_statuses_allowing_every_action() -> None:
    assert {action: list(statuses_allowing(action)) for action in Action} == {
        action: [status for status in Status if status in plans]
        for action, plans in ALLOWED.items()
    }


def test_task_of_every_action() -> None:
    assert {action: action.task for action in Action} == {
        "create": "creating",
        "start": "starting",
        "stop": "stopping",
        "restart": "restarting",
        "pause": "pausing",
        "resume": "resuming",
        "update": "updating",
        "delete": "deleting",
    }


def test_every_verb_has_a_target_status_except_create_and_update() -> None:
    assert set(Verb) - set(TARGET_STATUS_BY_VERB) == {Verb.CREATE, Verb.UPDATE}
