"""Recovery windows: until when a call without a response can still take effect in the cloud."""

from datetime import datetime, timedelta

from vmapi.domain.lifecycle import Verb
from vmapi.domain.operation import CreateWindow, Step, StepState

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
    until = arrives_until(step, since, timeout)
    return until is not None and now <= until


def arrives_until(step: Step, since: datetime, timeout: timedelta) -> datetime | None:
    """Return until when a call sent at `since` may take effect; None if it has its response."""
    if step.state is not StepState.DISPATCHING:
        return None
    is_create = step.verb is Verb.CREATE
    return since + timeout + (CREATE_RECOVERY_WINDOW if is_create else ACTION_RECOVERY_WINDOW)


def create_window(response_timeout: float, clock_offset: timedelta) -> CreateWindow:
    """Return the window of a create without a response; `response_timeout` is in seconds.

    `clock_offset`: the time of the cloud minus the time of vmapi.
    """
    return CreateWindow(timedelta(seconds=response_timeout) + CREATE_RECOVERY_WINDOW, clock_offset)
