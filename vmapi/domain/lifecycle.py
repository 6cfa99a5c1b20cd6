"""The lifecycle of a VM as data: which action a status allows, and its steps.

::

    create ──► BUILDING ──► STOPPED ◄─stop── RUNNING ──pause──► PAUSED
                  │            └───start───► │  ▲ └──restart──┐   │
                  │                          └──┼─────────────┘   │
                  ▼                             └────resume───────┘
                ERROR ──restart (hard)──► RUNNING          stop: resume, then stop

Every status except DELETED also allows delete.
"""

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from types import MappingProxyType


class Status(StrEnum):
    """The status of a VM."""

    BUILDING = "BUILDING"
    STOPPED = "STOPPED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    ERROR = "ERROR"
    DELETED = "DELETED"


class Task(StrEnum):
    """The task in progress on a VM; `OTHER` was started outside this API."""

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
    """An action that a client may request."""

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
        """The task that a VM shows while this action is in progress."""
        return _TASK_BY_ACTION[self]


_TASK_BY_ACTION: Mapping[Action, Task] = MappingProxyType(dict(zip(Action, Task, strict=False)))


class Verb(StrEnum):
    """The kind of call to the cloud that a step makes; a driver carries it out."""

    CREATE = "create"
    START = "start"
    STOP = "stop"
    RESTART_SOFT = "restart_soft"
    RESTART_HARD = "restart_hard"
    PAUSE = "pause"
    RESUME = "resume"
    UPDATE = "update"
    DELETE = "delete"


TRANSITIONS: Mapping[tuple[Status, Action], tuple[Verb, ...]] = MappingProxyType(
    {
        (Status.STOPPED, Action.START): (Verb.START,),
        (Status.STOPPED, Action.UPDATE): (Verb.UPDATE,),
        (Status.STOPPED, Action.DELETE): (Verb.DELETE,),
        (Status.RUNNING, Action.STOP): (Verb.STOP,),
        (Status.RUNNING, Action.RESTART): (Verb.RESTART_SOFT,),
        (Status.RUNNING, Action.PAUSE): (Verb.PAUSE,),
        (Status.RUNNING, Action.UPDATE): (Verb.UPDATE,),
        (Status.RUNNING, Action.DELETE): (Verb.DELETE,),
        (Status.PAUSED, Action.STOP): (Verb.RESUME, Verb.STOP),
        (Status.PAUSED, Action.RESUME): (Verb.RESUME,),
        (Status.PAUSED, Action.UPDATE): (Verb.UPDATE,),
        (Status.PAUSED, Action.DELETE): (Verb.DELETE,),
        (Status.ERROR, Action.RESTART): (Verb.RESTART_HARD,),
        (Status.ERROR, Action.DELETE): (Verb.DELETE,),
        (Status.BUILDING, Action.DELETE): (Verb.DELETE,),
    }
)
"""The verbs of each action in each status that allows it."""

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
"""The status after a verb; create and update have none to wait for."""

VM_ACTIONS = (
    Action.START,
    Action.STOP,
    Action.RESTART,
    Action.PAUSE,
    Action.RESUME,
    Action.DELETE,
)
"""The actions on an existing VM, besides an update."""


@cache
def allowed_actions(
    status: Status, task: Task | None = None, *, locked: bool = False, launched: bool = True
) -> tuple[Action, ...]:
    """Return the actions that a VM accepts now, in the order of the API."""
    if locked:
        return ()
    return tuple(
        action
        for action in VM_ACTIONS
        if (status, action) in TRANSITIONS
        and (task is None or action is Action.DELETE)
        and not (action is Action.RESTART and status is Status.ERROR and not launched)
    )


def statuses_allowing(action: Action) -> tuple[Status, ...]:
    """Return the statuses that allow an action, in the order of `Status`."""
    return tuple(status for status in Status if (status, action) in TRANSITIONS)
