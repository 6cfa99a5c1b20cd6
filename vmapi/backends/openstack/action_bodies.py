"""Which call carries out a verb, and by which name the cloud remembers it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from vmapi.domain.lifecycle import Verb

Body = Mapping[str, Any]

LIKELY: Mapping[Verb, Body] = MappingProxyType(
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

OTHERWISE: Mapping[tuple[Verb, str], Body] = MappingProxyType(
    {
        (Verb.START, "SHELVED"): {"unshelve": None},
        (Verb.START, "SHELVED_OFFLOADED"): {"unshelve": None},
        (Verb.RESUME, "SUSPENDED"): {"resume": None},
    }
)
"""The call for a state that refuses the likely one, by Nova's own status."""


def likely(verb: Verb) -> dict[str, Any]:
    """Return the call of a verb that is sent first."""
    return dict(LIKELY[verb])


def has_alternative(verb: Verb) -> bool:
    """Tell whether the state decides which call carries a verb out."""
    return any(verb is each for each, _ in OTHERWISE)


def alternative(verb: Verb, status: str | None) -> dict[str, Any] | None:
    """Return the other call of a verb for a server of this status, if it has one."""
    body = OTHERWISE.get((verb, status or ""))
    return dict(body) if body else None


def names(verb: Verb) -> frozenset[str]:
    """Return the names that the calls of a verb have among a server's instance actions."""
    bodies = [LIKELY.get(verb, {verb.value: None})]
    bodies += [body for (other, _), body in OTHERWISE.items() if other is verb]
    return frozenset(key.removeprefix("os-") for body in bodies for key in body)
