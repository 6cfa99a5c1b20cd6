"""How long an operation may take."""

from collections.abc import Mapping
from datetime import timedelta

from vmapi.domain.lifecycle import Action
from vmapi.settings.parsing import KeyValueFormat, parse_int
from vmapi.settings.settings import DEFAULT_DEADLINES

MIN_DEADLINE_SECONDS, MAX_DEADLINE_SECONDS = 10, 86_400
DEADLINE_WILDCARD = "*"

DEADLINES_FORMAT = KeyValueFormat(
    "VMAPI_DEADLINES",
    f"ACTION=SECONDS,… ({MIN_DEADLINE_SECONDS} to {MAX_DEADLINE_SECONDS}) "
    f"with {', '.join(Action)} and {DEADLINE_WILDCARD} (the rest)",
)


def parse_deadlines(text: str) -> Mapping[Action, timedelta]:
    """Return the deadline of each action; one that is not named keeps its default.

    Raises SettingsError.
    """
    asked = _parse_seconds(text)
    default = _parse_seconds(DEFAULT_DEADLINES)
    rest = asked.get(DEADLINE_WILDCARD)
    return {
        action: timedelta(
            seconds=asked.get(action) or rest or default.get(action) or default[DEADLINE_WILDCARD]
        )
        for action in Action
    }


def _parse_seconds(text: str) -> dict[str, int]:
    return DEADLINES_FORMAT.parse(
        text, {*Action, DEADLINE_WILDCARD}, lambda _, written: _parse_bounded(written)
    )


def _parse_bounded(written: str) -> int:
    seconds = parse_int(written)
    if not MIN_DEADLINE_SECONDS <= seconds <= MAX_DEADLINE_SECONDS:
        raise ValueError(written)
    return seconds
