"""Server actions: the request of each verb, and Nova's records of the requests.

Nova API "Servers - run an action": `POST /servers/{id}/action` with one of the bodies here.
Nova API "Servers actions": `GET /servers/{id}/os-instance-actions[/{request id}]`, microversion
2.51 and later shows the events to every user.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from vmapi.backends.base import ActionOutcome
from vmapi.backends.openstack.connection.session import Json
from vmapi.backends.openstack.members import time_member
from vmapi.domain.lifecycle import Verb
from vmapi.domain.timestamps import EPOCH

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
"""The body that is sent first. Nova refuses it in every state that needs another body."""

BODIES_BY_STATUS: Mapping[tuple[Verb, str], ActionBody] = MappingProxyType(
    {
        (Verb.START, "SHELVED"): {"unshelve": None},
        (Verb.START, "SHELVED_OFFLOADED"): {"unshelve": None},
        (Verb.RESUME, "SUSPENDED"): {"resume": None},
    }
)
"""The body for a server of this Nova status, after Nova has refused the default body."""

CLOCK_TOLERANCE = timedelta(seconds=2)
"""Nova's start times are whole seconds on the clock of another host."""


def default_body(verb: Verb) -> dict[str, Any]:
    """Return the request body of a verb that is sent first."""
    return dict(DEFAULT_BODIES[verb])


def has_body_for_status(verb: Verb) -> bool:
    """Return whether the status of a server can decide on the request body of a verb."""
    return any(verb is verb_of_body for verb_of_body, _ in BODIES_BY_STATUS)


def body_for_status(verb: Verb, status: str | None) -> dict[str, Any] | None:
    """Return the other request body of a verb for a Nova status, or None."""
    body = BODIES_BY_STATUS.get((verb, status or ""))
    return dict(body) if body else None


def instance_action_names(verb: Verb) -> frozenset[str]:
    """Return the names under which Nova records the requests of a verb."""
    bodies = [DEFAULT_BODIES.get(verb, {verb.value: None})]
    bodies += [body for (other, _), body in BODIES_BY_STATUS.items() if other is verb]
    return frozenset(key.removeprefix("os-") for body in bodies for key in body)


def outcome_of(record: Json) -> ActionOutcome:
    """Return the outcome of an instance action, judged by its events.

    One failed event decides. Otherwise every event name needs one finished event: after a restart
    of nova-compute a second event has the same name, and Nova finishes only one of the two.
    """
    finished: dict[str, bool] = {}
    for event in record.get("events") or ():
        if event.get("result") == "Error":
            return ActionOutcome.FAILED
        name, succeeded = str(event.get("event")), event.get("result") == "Success"
        is_finished = succeeded and bool(event.get("finish_time"))
        finished[name] = finished.get(name, False) or is_finished
    return ActionOutcome.SUCCEEDED if finished and all(finished.values()) else ActionOutcome.PENDING


def find_newest(
    records: Iterable[Json],
    names: frozenset[str],
    since: datetime,
    exclude_request_ids: Collection[str],
) -> str | None:
    """Return the request id of the newest instance action, or None.

    Ignores actions with other names or with excluded request ids, and actions that started before
    `since`, a time on the cloud's clock.
    """
    started = [
        (time_member(record, "start_time") or EPOCH, str(record["request_id"]))
        for record in records
        if record["action"] in names and record["request_id"] not in exclude_request_ids
    ]
    earliest = since - CLOCK_TOLERANCE
    newest = max((action for action in started if action[0] >= earliest), default=None)
    return newest[1] if newest else None
