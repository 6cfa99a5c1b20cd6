"""The lifecycle of a VM as data: which action is allowed in which status, and what it takes.

::

    create ──► BUILDING ──► STOPPED ◄─stop── RUNNING ──pause──► PAUSED
                  │            └───start───► │  ▲ └──restart──┐   │
                  │                          └──┼─────────────┘   │
                  ▼                             └────resume───────┘
                ERROR ──restart (hard)──► RUNNING          stop: resume, then stop

Every status but DELETED also knows delete.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import MappingProxyType


class Status(StrEnum):
    """Where a VM stands."""

    BUILDING = "BUILDING"
    STOPPED = "STOPPED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    ERROR = "ERROR"
    DELETED = "DELETED"


class Task(StrEnum):
    """What is under way with a VM; `OTHER` was begun outside this API."""

    CREATING = "creating"
    STARTING = "starting"
    STOPPING = "stopping"
    RESTARTING = "restarting"
    PAUSING = "pausing"
    RESUMING = "resuming"
    UPDATING = "updating"
    DELETING = "deleting"
    OTHER = "other"


class Action(StrEnum):
    """What a client may ask for."""

    CREATE = "create"
    START = "start"
    STOP = "stop"
    RESTART = "restart"
    PAUSE = "pause"
    RESUME = "resume"
    UPDATE = "update"
    DELETE = "delete"

    @property
    def task(self) -> Task:
        """The task a VM shows while this action is under way."""
        return _TASK_BY_ACTION[self]


_TASK_BY_ACTION: Mapping[Action, Task] = MappingProxyType(dict(zip(Action, Task, strict=False)))


class Verb(StrEnum):
    """One call to a cloud: the unit that a plan is made of and that a driver carries out."""

    CREATE = "create"
    START = "start"
    STOP = "stop"
    RESTART_SOFT = "restart_soft"
    RESTART_HARD = "restart_hard"
    PAUSE = "pause"
    RESUME = "resume"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Transition:
    """What an action on a VM of one status takes, and the status it ends in."""

    verbs: tuple[Verb, ...]
    goal: Status


TRANSITIONS: Mapping[tuple[Status, Action], Transition] = MappingProxyType(
    {
        (Status.STOPPED, Action.START): Transition((Verb.START,), Status.RUNNING),
        (Status.STOPPED, Action.UPDATE): Transition((Verb.UPDATE,), Status.STOPPED),
        (Status.STOPPED, Action.DELETE): Transition((Verb.DELETE,), Status.DELETED),
        (Status.RUNNING, Action.STOP): Transition((Verb.STOP,), Status.STOPPED),
        (Status.RUNNING, Action.RESTART): Transition((Verb.RESTART_SOFT,), Status.RUNNING),
        (Status.RUNNING, Action.PAUSE): Transition((Verb.PAUSE,), Status.PAUSED),
        (Status.RUNNING, Action.UPDATE): Transition((Verb.UPDATE,), Status.RUNNING),
        (Status.RUNNING, Action.DELETE): Transition((Verb.DELETE,), Status.DELETED),
        (Status.PAUSED, Action.STOP): Transition((Verb.RESUME, Verb.STOP), Status.STOPPED),
        (Status.PAUSED, Action.RESUME): Transition((Verb.RESUME,), Status.RUNNING),
        (Status.PAUSED, Action.UPDATE): Transition((Verb.UPDATE,), Status.PAUSED),
        (Status.PAUSED, Action.DELETE): Transition((Verb.DELETE,), Status.DELETED),
        (Status.ERROR, Action.RESTART): Transition((Verb.RESTART_HARD,), Status.RUNNING),
        (Status.ERROR, Action.DELETE): Transition((Verb.DELETE,), Status.DELETED),
        (Status.BUILDING, Action.DELETE): Transition((Verb.DELETE,), Status.DELETED),
    }
)

TARGET_STATUS_BY_VERB: Mapping[Verb, Status] = MappingProxyType(
    {
        Verb.START: Status.RUNNING,
        Verb.STOP: Status.STOPPED,
        Verb.RESTART_SOFT: Status.RUNNING,
        Verb.RESTART_HARD: Status.RUNNING,
        Verb.PAUSE: Status.PAUSED,
        Verb.RESUME: Status.RUNNING,
        Verb.DELETE: Status.DELETED,
    }
)
"""The status in which a verb that has one leaves a VM."""

_LISTED_ACTIONS = (
    Action.START,
    Action.STOP,
    Action.RESTART,
    Action.PAUSE,
    Action.RESUME,
    Action.DELETE,
)


@cache
def allowed_actions(
    status: Status, task: Task | None = None, *, locked: bool = False, launched: bool = True
) -> tuple[Action, ...]:
    """Return the actions that would be accepted now, in the order the API shows them."""
    if locked:
        return ()
    return tuple(
        action
        for action in _LISTED_ACTIONS
        if (status, action) in TRANSITIONS
        and (task is None or action is Action.DELETE)
        and not (action is Action.RESTART and status is Status.ERROR and not launched)
    )


def statuses_allowing(action: Action) -> tuple[Status, ...]:
    """Return the statuses in which an action is allowed, in the order of `Status`."""
    return tuple(status for status in Status if (status, action) in TRANSITIONS)
