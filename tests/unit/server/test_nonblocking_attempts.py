"""Which requests the poller thread tries to serve."""

import pytest

from vmapi.server.nonblocking_attempts import (
    ATTEMPT_PAUSE_SECONDS,
    MAX_FAILED_ATTEMPTS,
    NonblockingAttempts,
)


@pytest.mark.parametrize(
    ("kind", "is_due"), [("vms", True), ("liveness", True), ("readiness", False), (None, False)]
)
def test_reads_of_vms_and_liveness_probes_are_tried(kind: str | None, is_due: bool) -> None:
    assert NonblockingAttempts().is_due(kind) == is_due


def test_attempts_pause_while_each_of_them_fails() -> None:
    now = [0.0]
    attempts = NonblockingAttempts(lambda: now[0])
    for _ in range(MAX_FAILED_ATTEMPTS):
        assert attempts.is_due("vms")
        attempts.record_failure()
    assert not attempts.is_due("vms")
    assert attempts.is_due("liveness")
    now[0] += ATTEMPT_PAUSE_SECONDS
    assert attempts.is_due("vms")
    attempts.record_failure()
    assert not attempts.is_due("vms")
    now[0] += ATTEMPT_PAUSE_SECONDS
    attempts.record_success()
    attempts.record_failure()
    assert attempts.is_due("vms")
