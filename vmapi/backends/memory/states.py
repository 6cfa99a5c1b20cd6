"""What Nova allows in which state, and where it leads: data, as measured on a real one."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from vmapi.domain.lifecycle import Action, Status, Task, Verb


class State(StrEnum):
    """The raw state of a machine, by the status that Nova shows for it."""

    BUILD = "BUILD"
    ACTIVE = "ACTIVE"
    SHUTOFF = "SHUTOFF"
    PAUSED = "PAUSED"
    ERROR = "ERROR"


STATUSES: Mapping[State, Status] = MappingProxyType(
    {
        State.BUILD: Status.BUILDING,
        State.ACTIVE: Status.RUNNING,
        State.SHUTOFF: Status.STOPPED,
        State.PAUSED: Status.PAUSED,
        State.ERROR: Status.ERROR,
    }
)

VM_STATES: Mapping[State, str] = MappingProxyType(
    {
        State.BUILD: "building",
        State.ACTIVE: "active",
        State.SHUTOFF: "stopped",
        State.PAUSED: "paused",
        State.ERROR: "error",
    }
)
"""Nova's word for a state in its error messages."""

TASK_STATES: Mapping[Verb, str] = MappingProxyType(
    {
        Verb.CREATE: "spawning",
        Verb.START: "powering-on",
        Verb.STOP: "powering-off",
        Verb.RESTART_SOFT: "rebooting",
        Verb.RESTART_HARD: "rebooting_hard",
        Verb.PAUSE: "pausing",
        Verb.RESUME: "unpausing",
        Verb.DELETE: "deleting",
    }
)
"""Nova's word for what is under way."""

TASKS: Mapping[Verb, Task] = MappingProxyType(
    {verb: Action(verb.partition("_")[0]).task for verb in Verb}
)

REBOOTING: Mapping[Verb, str] = MappingProxyType(
    {Verb.RESTART_SOFT: "REBOOT", Verb.RESTART_HARD: "HARD_REBOOT"}
)
"""The status that Nova shows while an ACTIVE server is being rebooted."""

ALLOWED: Mapping[Verb, frozenset[State]] = MappingProxyType(
    {
        Verb.START: frozenset({State.SHUTOFF}),
        Verb.STOP: frozenset({State.ACTIVE, State.ERROR}),
        Verb.RESTART_SOFT: frozenset({State.ACTIVE}),
        Verb.RESTART_HARD: frozenset({State.ACTIVE, State.SHUTOFF, State.PAUSED, State.ERROR}),
        Verb.PAUSE: frozenset({State.ACTIVE}),
        Verb.RESUME: frozenset({State.PAUSED}),
        Verb.UPDATE: frozenset({State.ACTIVE, State.SHUTOFF, State.PAUSED}),
    }
)
"""ERROR is for a machine that ever ran; UPDATE is of metadata. A delete is always allowed."""

GOALS: Mapping[Verb, State] = MappingProxyType(
    {
        Verb.CREATE: State.ACTIVE,
        Verb.START: State.ACTIVE,
        Verb.STOP: State.SHUTOFF,
        Verb.RESTART_SOFT: State.ACTIVE,
        Verb.RESTART_HARD: State.ACTIVE,
        Verb.PAUSE: State.PAUSED,
        Verb.RESUME: State.ACTIVE,
    }
)

BREAKING = frozenset({Verb.CREATE, Verb.RESTART_SOFT, Verb.RESTART_HARD})
"""What leaves a machine in ERROR when it fails; after the rest it stays as it was."""
