"""Which call carries out a verb, and by which name the cloud remembers it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from vmapi.domain.lifecycle import Verb

ActionBody = Mapping[str, Any]

DEFAULT_BODIES: Mapping[Verb, ActionBody] = MappingProxyType(
    {
        Verb.START: {"os-start": None},
        Verb.STOP: {"os-stop": None},
        Verb.RESTART_SOFT: {"reboot": {"type": "SOFT"}},
        Verb.RESTART_HARD: {"reboot": {"type": "HARD"}},
        Verb.PAUSE: {"pause": None},
        Verb.RESUME: {"unpause": None},
    }
)
"""The call that is sent first: Nova refuses it in any state that wants another one."""

BODIES_BY_STATUS: Mapping[tuple[Verb, str], ActionBody] = MappingProxyType(
    {
        (Verb.START, "SHELVED"): {"unshelve": None},
        (Verb.START, "SHELVED_OFFLOADED"): {"unshelve": None},
        (Verb.RESUME, "SUSPENDED"): {"resume": None},
    }
)
"""The call for a state that refuses the likely one, by Nova's own status."""


def default_body(verb: Verb) -> dict[str, Any]:
    """Return the call of a verb that is sent first."""
    return dict(DEFAULT_BODIES[verb])


def has_body_for_status(verb: Verb) -> bool:
    """Tell whether the state decides which call carries a verb out."""
    return any(verb is each for each, _ in BODIES_BY_STATUS)


def body_for_status(verb: Verb, status: str | None) -> dict[str, Any] | None:
    """Return the other call of a verb for a server of this status, if it has one."""
    body = BODIES_BY_STATUS.get((verb, status or ""))
    return dict(body) if body else None


def instance_action_names(verb: Verb) -> frozenset[str]:
    """Return the names that the calls of a verb have among a server's instance actions."""
    bodies = [DEFAULT_BODIES.get(verb, {verb.value: None})]
    bodies += [body for (other, _), body in BODIES_BY_STATUS.items() if other is verb]
    return frozenset(key.removeprefix("os-") for body in bodies for key in body)
