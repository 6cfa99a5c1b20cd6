"""How long an operation may take."""

from collections.abc import Mapping
from datetime import timedelta

from vmapi.domain.lifecycle import Action
from vmapi.settings.parsing import Notation, whole
from vmapi.settings.settings import DEADLINES

LEAST, MOST = 10, 86_400
REST = "*"

NOTATION = Notation(
    "VMAPI_DEADLINES",
    f"ACTION=SECONDS,… ({LEAST} to {MOST}) with {', '.join(Action)} and {REST} (the rest)",
)


def parse(text: str) -> Mapping[Action, timedelta]:
    """Return the deadline of each action; one that is not named keeps its default.

    Raises SettingsError.
    """
    asked = _seconds(text)
    default = _seconds(DEADLINES)
    rest = asked.get(REST)
    return {
        action: timedelta(seconds=asked.get(action) or rest or default.get(action) or default[REST])
        for action in Action
    }


def _seconds(text: str) -> dict[str, int]:
    return NOTATION.parse(text, {*Action, REST}, lambda _, written: _bounded(written))


def _bounded(written: str) -> int:
    seconds = whole(written)
    if not LEAST <= seconds <= MOST:
        raise ValueError(written)
    return seconds
