"""Deadlines of operations: each action fails at its own."""

from datetime import timedelta

import pytest

from tests.support.reconciler_harness import RESPONSE_TIMEOUT, ReconcilerHarness
from vmapi.domain.lifecycle import Action, Verb
from vmapi.domain.operation import OperationStatus
from vmapi.errors import OperationTimeout
from vmapi.services.reconciler.reconciler import Reconciler
from vmapi.settings.operations import parse_deadlines


@pytest.mark.parametrize(
    ("action", "verb", "limit"),
    [
        (Action.STOP, Verb.STOP, 60),
        (Action.RESTART, Verb.RESTART_HARD, 90),
        (Action.PAUSE, Verb.PAUSE, 120),
    ],
)
def test_operation_fails_at_the_deadline_of_its_action(
    action: Action, verb: Verb, limit: int
) -> None:
    harness = ReconcilerHarness.build("create=0,*=3600")
    vm_id = harness.running_vm()
    deadlines = parse_deadlines("stop=60,restart=90,*=120")
    harness.reconciler = Reconciler(
        harness.backend,
        harness.observer,
        harness.store,
        clock=harness.clock,
        response_timeout=RESPONSE_TIMEOUT,
        deadlines=deadlines,
        notify_engine=harness.notified_ids.append,
    )
    operation = harness.add_operation(action, verb, vm_id=vm_id)
    assert harness.reconcile(operation).waiting_on_cloud
    harness.clock.sleep(limit)
    assert harness.reconcile(operation).waiting_on_cloud
    harness.clock.now += timedelta(microseconds=1)
    progress = harness.reconcile(operation)
    assert isinstance(progress.error, OperationTimeout)
    failed = harness.reload(operation)
    assert (failed.status, failed.finished_at) == (OperationStatus.FAILED, harness.clock())
    assert failed.error is not None
    assert (failed.error.code, failed.error.detail) == (
        "operation_timeout",
        f"The {action} did not end within {limit} seconds. The VM was left as it is.",
    )
