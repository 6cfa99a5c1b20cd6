"""What Nova allows in which state, and where it leads: data, as measured on a real one."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from vmapi.domain.lifecycle import Action, Status, Task, Verb


class InstanceState(StrEnum):
    """The raw state of a machine, by the status that Nova shows for it."""

    BUILD = "BUILD"
    ACTIVE = "ACTIVE"
    SHUTOFF = "SHUTOFF"
    PAUSED = "PAUSED"
    ERROR = "ERROR"


STATUS_BY_STATE: Mapping[InstanceState, Status] = MappingProxyType(
    {
        InstanceState.BUILD: Status.BUILDING,
        InstanceState.ACTIVE: Status.RUNNING,
        InstanceState.SHUTOFF: Status.STOPPED,
        InstanceState.PAUSED: Status.PAUSED,
        InstanceState.ERROR: Status.ERROR,
    }
)

NOVA_VM_STATES: Mapping[InstanceState, str] = MappingProxyType(
    {
        InstanceState.BUILD: "building",
        InstanceState.ACTIVE: "active",
        InstanceState.SHUTOFF: "stopped",
        InstanceState.PAUSED: "paused",
        InstanceState.ERROR: "error",
    }
)
"""Nova's word for a state in its error messages."""

NOVA_TASK_STATES: Mapping[Verb, str] = MappingProxyType(
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

TASK_BY_VERB: Mapping[Verb, Task] = MappingProxyType(
    {verb: Action(verb.partition("_")[0]).task for verb in Verb}
)

REBOOT_STATUSES: Mapping[Verb, str] = MappingProxyType(
    {Verb.RESTART_SOFT: "REBOOT", Verb.RESTART_HARD: "HARD_REBOOT"}
)
"""The status that Nova shows while an ACTIVE server is being rebooted."""

ALLOWED_STATES: Mapping[Verb, frozenset[InstanceState]] = MappingProxyType(
    {
        Verb.START: frozenset({InstanceState.SHUTOFF}),
        Verb.STOP: frozenset({InstanceState.ACTIVE, InstanceState.ERROR}),
        Verb.RESTART_SOFT: frozenset({InstanceState.ACTIVE}),
        Verb.RESTART_HARD: frozenset(
            {InstanceState.ACTIVE, InstanceState.SHUTOFF, InstanceState.PAUSED, InstanceState.ERROR}
        ),
        Verb.PAUSE: frozenset({InstanceState.ACTIVE}),
        Verb.RESUME: frozenset({InstanceState.PAUSED}),
        Verb.UPDATE: frozenset({InstanceState.ACTIVE, InstanceState.SHUTOFF, InstanceState.PAUSED}),
    }
)
"""ERROR is for a machine that ever ran; UPDATE is of metadata. A delete is always allowed."""

STATE_AFTER: Mapping[Verb, InstanceState] = MappingProxyType(
    {
        Verb.CREATE: InstanceState.ACTIVE,
        Verb.START: InstanceState.ACTIVE,
        Verb.STOP: InstanceState.SHUTOFF,
        Verb.RESTART_SOFT: InstanceState.ACTIVE,
        Verb.RESTART_HARD: InstanceState.ACTIVE,
        Verb.PAUSE: InstanceState.PAUSED,
        Verb.RESUME: InstanceState.ACTIVE,
    }
)

VERBS_ENDING_IN_ERROR = frozenset({Verb.CREATE, Verb.RESTART_SOFT, Verb.RESTART_HARD})
"""What leaves a machine in ERROR when it fails; after the rest it stays as it was."""
