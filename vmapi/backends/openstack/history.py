"""What a server's instance actions, Nova's own record of what was asked of it, tell."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from vmapi.backends.base import Outcome
from vmapi.backends.openstack.session import Json
from vmapi.backends.openstack.translate import EPOCH, time

SLACK = timedelta(seconds=2)
"""Nova's clock counts whole seconds, and it is not ours."""


def outcome(action: Json) -> Outcome:
    """Judge an action by its events: all must have ended well, one that failed decides."""
    events: Sequence[Json] = action.get("events") or ()
    if any(event.get("result") == "Error" for event in events):
        return Outcome.FAILED
    ended = [event.get("result") == "Success" and event.get("finish_time") for event in events]
    return Outcome.SUCCEEDED if ended and all(ended) else Outcome.PENDING


def newest(actions: Iterable[Json], names: frozenset[str], since: datetime) -> str | None:
    """Return the request id of the newest action of one of these names, begun `since`."""
    begun = [
        (time(action.get("start_time")) or EPOCH, str(action["request_id"]))
        for action in actions
        if action["action"] in names
    ]
    found = max((each for each in begun if each[0] >= since - SLACK), default=None)
    return found[1] if found else None
