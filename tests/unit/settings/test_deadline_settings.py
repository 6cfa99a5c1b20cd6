"""VMAPI_DEADLINES: syntax, defaults, refused values."""

import pytest

from vmapi.domain.lifecycle import Action
from vmapi.errors import SettingsError
from vmapi.settings.operations import DEFAULT_DEADLINES, parse_deadlines
from vmapi.settings.settings import Settings

ALLOWED = (
    "allowed is ACTION=SECONDS,… (10 to 86400) with create, start, stop, restart, pause, resume,"
    " update, delete and * (the rest)"
)
OTHER_ACTIONS = set(Action) - {Action.CREATE}
MALFORMED_DEADLINES = [
    *("600", "stop", "stop=", "=600", "stop=9", "stop=86401", "stop=-60", "stop=60.0", "stop=1e3"),
    *("stop=sixty", "stop=60,stop=60", "stop=60,", ",", "Stop=60", "destroy=60", "*=0", "**=60"),
    *("stop=60;start=60", "stop=60=60", "stop=٦٠", "stop=0000000060", "*=60,*=70"),
]


def parse_seconds(text: str) -> dict[Action, float]:
    return {action: deadline.total_seconds() for action, deadline in parse_deadlines(text).items()}


@pytest.mark.parametrize("text", ["", "  ", DEFAULT_DEADLINES])
def test_action_that_is_not_named_keeps_its_default(text: str) -> None:
    assert parse_seconds(text) == {Action.CREATE: 1800, **dict.fromkeys(OTHER_ACTIONS, 600)}


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("stop=10", {Action.STOP: 10}),
        (" stop = 10 , create=86400", {Action.STOP: 10, Action.CREATE: 86400}),
        ("*=60", dict.fromkeys(Action, 60)),
        ("*=60,create=90", {**dict.fromkeys(Action, 60), Action.CREATE: 90}),
        ("delete=90,*=60", {**dict.fromkeys(Action, 60), Action.DELETE: 90}),
    ],
)
def test_named_actions_get_their_deadline(text: str, changed: dict[Action, int]) -> None:
    assert parse_seconds(text) == {**parse_seconds(""), **changed}


@pytest.mark.parametrize("text", MALFORMED_DEADLINES)
def test_malformed_deadlines_are_refused_with_the_allowed_syntax(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({"VMAPI_DEADLINES": text})
    assert str(caught.value) == f"VMAPI_DEADLINES {text!r}: {ALLOWED}"
