"""Readiness checks: errors of the pings, and waits between two pings."""

import pytest

from tests.support.no_free_thread import refusing_threads
from vmapi.backends.openstack.failures.exceptions import RequestsThrottled
from vmapi.services.health import ReadinessChecks


def do_nothing() -> None:
    """Respond at once."""


def test_throttled_cloud_gets_no_ping_before_its_retry_after() -> None:
    now, pings = [0.0], []

    def ping() -> None:
        pings.append(now[0])
        raise RequestsThrottled("HTTP 429", retry_after=30)

    readiness = ReadinessChecks(ping, do_nothing, lambda: now[0])
    for seconds in (0.0, 10.0, 29.0, 30.0, 59.0):
        now[0] = seconds
        assert readiness.statuses() == {"backend": "backend_unavailable", "store": "ok"}
    assert pings == [0.0, 30.0]


@pytest.mark.parametrize("dependency", ["backend", "store"])
def test_unexpected_error_of_a_ping_is_a_status(dependency: str) -> None:
    def fail() -> None:
        raise OSError("Could not find a suitable TLS CA certificate bundle")

    pings = [fail if name == dependency else do_nothing for name in ("backend", "store")]
    statuses = ReadinessChecks(*pings, lambda: 0.0).statuses()
    assert statuses == {"backend": "ok", "store": "ok"} | {dependency: "internal_error"}


def test_dependencies_do_not_respond_without_a_free_thread() -> None:
    readiness = ReadinessChecks(do_nothing, do_nothing, lambda: 0.0)
    with refusing_threads():
        statuses = readiness.statuses()
    assert statuses == {"backend": "backend_timeout", "store": "store_unavailable"}
