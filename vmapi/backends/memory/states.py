"""The state machine of an instance, as measured on Nova 26 (Zed)."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from vmapi.domain.lifecycle import Action, Status, Task, Verb


class InstanceState(StrEnum):
    """The state of an instance, as Nova's `status`."""

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
"""The vm_state of a state in Nova's error messages."""

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
"""The task_state of an action in progress in Nova's error messages."""

TASK_BY_VERB: Mapping[Verb, Task] = MappingProxyType(
    {verb: Action(verb.partition("_")[0]).task for verb in Verb}
)

REBOOT_STATUSES: Mapping[Verb, str] = MappingProxyType(
    {Verb.RESTART_SOFT: "REBOOT", Verb.RESTART_HARD: "HARD_REBOOT"}
)
"""Nova's status of an ACTIVE server during a reboot."""

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
"""The states that allow a verb. A delete is always allowed.

ERROR counts for an instance that ever ran. UPDATE is a change of metadata.
"""

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
"""Verbs that leave an instance in ERROR when they fail; other verbs leave the state unchanged."""
