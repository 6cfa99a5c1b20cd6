"""Recovery windows: until when a call without a response can still take effect in the cloud."""

from datetime import datetime, timedelta

from vmapi import errors
from vmapi.domain.lifecycle import Verb
from vmapi.domain.operation import CreateWindow, Operation, Step, StepState

CREATE_RECOVERY_WINDOW = timedelta(seconds=120)
"""Nova may queue a create for this long after the response timeout before the server shows."""

ACTION_RECOVERY_WINDOW = timedelta(seconds=10)
"""Shorter than for a create: the cloud refuses an action that arrives a second time."""

MAX_PROCESS_CLOCK_SKEW = timedelta(seconds=60)
"""A time further in the future is from a wrong clock, not from the clock of another machine."""

WRONG_CLOCK_SEARCH_PERIOD = timedelta(hours=1)
"""How far back an action is searched in the cloud if its time is from a wrong clock."""


def is_from_wrong_clock(time: datetime, now: datetime) -> bool:
    """Return whether a time is in the future: the clock has been set back since."""
    return time - now > MAX_PROCESS_CLOCK_SKEW


def may_still_arrive(step: Step, since: datetime, now: datetime, timeout: timedelta) -> bool:
    """Return whether a call sent at `since` may still take effect; `timeout` is the response's."""
    if step.state is not StepState.DISPATCHING:
        return False
    is_create = step.verb is Verb.CREATE
    window = CREATE_RECOVERY_WINDOW if is_create else ACTION_RECOVERY_WINDOW
    return now - since <= timeout + window


def create_window(response_timeout: float, clock_offset: timedelta) -> CreateWindow:
    """Return the window of a create without a response; `response_timeout` is in seconds.

    `clock_offset`: the time of the cloud minus the time of vmapi.
    """
    return CreateWindow(timedelta(seconds=response_timeout) + CREATE_RECOVERY_WINDOW, clock_offset)


def step_started_at(operation: Operation, step: Step) -> datetime:
    """Return when the step was saved as dispatching."""
    return step.started_at or operation.created_at


def began_at(operation: Operation) -> datetime:
    """Return when the time limit of an operation began.

    The step is older than the operation only if `created_at` is from a wrong clock.
    """
    if operation.step is None:
        return operation.created_at
    return min(operation.created_at, step_started_at(operation, operation.step))


def require_vm_id(operation: Operation) -> str:
    """Return the id of the VM. Raises InternalError for a create without one."""
    if operation.vm_id is None:
        raise errors.InternalError(f"Operation {operation.id} has no VM yet.")
    return operation.vm_id
