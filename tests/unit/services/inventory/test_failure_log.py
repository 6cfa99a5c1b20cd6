"""The log of an outage of the sync: its first failure, one line a minute, and its end."""

from structlog.testing import capture_logs

from vmapi.errors import BackendTimeout, BackendUnavailable
from vmapi.services.inventory.failure_log import FAILURE_LOG_INTERVAL, SyncFailureLog

FAILED = "inventory sync failed; serving cached data"


def test_outage_of_five_minutes_has_a_line_a_minute_and_one_at_its_end() -> None:
    now = 1000.0
    failure_log = SyncFailureLog("changes", lambda: now)
    with capture_logs() as logs:
        failure_log.record_success()
        for _ in range(150):
            failure_log.record_failure(BackendUnavailable("no response"))
            now += 2
        failure_log.record_success()
        failure_log.record_success()
    lines = [(line.pop("event"), line) for line in logs]
    assert [event for event, _ in lines] == [FAILED] * 5 + ["inventory sync works again"]
    assert [line["failures"] for _, line in lines] == [1, 31, 61, 91, 121, 150]
    assert lines[0][1] == {
        "log_level": "warning",
        "kind": "changes",
        "reason": "no response",
        "failures": 1,
    }
    assert lines[-1][1] == {
        "log_level": "info",
        "kind": "changes",
        "seconds": 300.0,
        "failures": 150,
    }


def test_next_outage_is_logged_at_once() -> None:
    failure_log = SyncFailureLog("full", lambda: 1000.0)
    with capture_logs() as logs:
        for reason in ("no response", "no answer"):
            failure_log.record_failure(BackendUnavailable(reason))
            failure_log.record_success()
    failures = [line for line in logs if line["event"] == FAILED]
    assert [line["reason"] for line in failures] == ["no response", "no answer"]


def test_later_line_has_the_last_reason() -> None:
    now = 1000.0
    failure_log = SyncFailureLog("full", lambda: now)
    with capture_logs() as logs:
        failure_log.record_failure(BackendUnavailable("no response"))
        now += FAILURE_LOG_INTERVAL
        failure_log.record_failure(BackendTimeout("late"))
    assert [line["reason"] for line in logs] == ["no response", "late"]
