"""What a server's instance actions, Nova's own record of what was asked of it, tell."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from vmapi.backends.base import ActionOutcome
from vmapi.backends.openstack.mapping import UNIX_EPOCH, parse_time
from vmapi.backends.openstack.session import Json

CLOCK_TOLERANCE = timedelta(seconds=2)
"""Nova's clock counts whole seconds, and it is not ours."""


def outcome_of(action: Json) -> ActionOutcome:
    """Judge an action by its events: all must have ended well, one that failed decides.

    Of several of one name Nova ends one only: it began that event anew when its compute restarted.
    """
    ended: dict[str, bool] = {}
    for event in action.get("events") or ():
        if event.get("result") == "Error":
            return ActionOutcome.FAILED
        name, well = str(event.get("event")), event.get("result") == "Success"
        ended[name] = ended.get(name, False) or (well and bool(event.get("finish_time")))
    return ActionOutcome.SUCCEEDED if ended and all(ended.values()) else ActionOutcome.PENDING


def find_newest(
    actions: Iterable[Json],
    names: frozenset[str],
    since: datetime,
    exclude_request_ids: Collection[str],
) -> str | None:
    """Return the request id of the newest action of these names, begun `since` and not known."""
    begun = [
        (parse_time(action.get("start_time")) or UNIX_EPOCH, str(action["request_id"]))
        for action in actions
        if action["action"] in names and action["request_id"] not in exclude_request_ids
    ]
    found = max((each for each in begun if each[0] >= since - CLOCK_TOLERANCE), default=None)
    return found[1] if found else None
