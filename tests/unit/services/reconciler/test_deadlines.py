"""VMAPI_DEADLINES: how long each operation may take, and that it ends then."""

from datetime import timedelta

import pytest

from tests.support.reconciler_harness import RESPONSE_TIMEOUT, ReconcilerHarness
from vmapi.domain.lifecycle import Action, Verb
from vmapi.domain.operation import OperationStatus
from vmapi.errors import OperationTimeout, SettingsError
from vmapi.services.reconciler.reconciler import Reconciler
from vmapi.settings.operations import DEFAULT_DEADLINES, parse_deadlines
from vmapi.settings.settings import Settings

ALLOWED = (
    "allowed is ACTION=SECONDS,… (10 to 86400) with create, start, stop, restart, pause, resume,"
    " update, delete and * (the rest)"
)
REST = set(Action) - {Action.CREATE}
BAD = [
    *("600", "stop", "stop=", "=600", "stop=9", "stop=86401", "stop=-60", "stop=60.0", "stop=1e3"),
    *("stop=sixty", "stop=60,stop=60", "stop=60,", ",", "Stop=60", "destroy=60", "*=0", "**=60"),
    *("stop=60;start=60", "stop=60=60", "stop=٦٠", "stop=0000000060", "*=60,*=70"),
]


def seconds(text: str) -> dict[Action, float]:
    return {action: each.total_seconds() for action, each in parse_deadlines(text).items()}


@pytest.mark.parametrize("text", ["", "  ", DEFAULT_DEADLINES])
def test_what_is_not_named_keeps_its_default(text: str) -> None:
    assert seconds(text) == {Action.CREATE: 1800, **dict.fromkeys(REST, 600)}


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
def test_what_is_named(text: str, changed: dict[Action, int]) -> None:
    assert seconds(text) == {**seconds(""), **changed}


@pytest.mark.parametrize("text", BAD)
def test_what_is_not_allowed_is_named_with_what_is(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({"VMAPI_DEADLINES": text})
    assert str(caught.value) == f"VMAPI_DEADLINES {text!r}: {ALLOWED}"


def test_no_app_is_made_with_it() -> None:
    with pytest.raises(SettingsError, match=r"^VMAPI_DEADLINES 'stop=9': allowed is ACTION="):
        Settings.from_environ({"VMAPI_DEADLINES": "stop=9"})


@pytest.mark.parametrize(
    ("action", "verb", "limit"),
    [
        (Action.STOP, Verb.STOP, 60),
        (Action.RESTART, Verb.RESTART_HARD, 90),
        (Action.PAUSE, Verb.PAUSE, 120),
    ],
)
def test_each_ends_at_its_own(action: Action, verb: Verb, limit: int) -> None:
    desk = ReconcilerHarness.build("create=0,*=3600")
    vm_id = desk.running_vm()
    given = parse_deadlines("stop=60,restart=90,*=120")
    desk.reconciler = Reconciler(
        desk.backend,
        desk.observer,
        desk.store,
        clock=desk.clock,
        response_timeout=RESPONSE_TIMEOUT,
        deadlines=given,
    )
    operation = desk.add_operation(action, verb, vm_id=vm_id)
    assert desk.reconcile(operation).waiting_on_cloud
    desk.clock.sleep(limit)
    assert desk.reconcile(operation).waiting_on_cloud
    desk.clock.now += timedelta(microseconds=1)
    progress = desk.reconcile(operation)
    assert isinstance(progress.error, OperationTimeout)
    ended = desk.reload(operation)
    assert (ended.status, ended.finished_at) == (OperationStatus.FAILED, desk.clock())
    assert ended.error is not None
    assert (ended.error.code, ended.error.detail) == (
        "operation_timeout",
        f"The {action} did not end within {limit} seconds. The VM was left as it is.",
    )
