"""Requests are counted by method, template of the route and status; problems by code."""

from dataclasses import replace

import pytest

from tests.support.api_harness import UNKNOWN_ID, ApiHarness
from tests.support.metrics import RecordedMetrics
from vmapi.domain.access.rate_limit import RateLimit
from vmapi.services.access.rate_limits import RateLimiter
from vmapi.store.rate_counters import MemoryCounters

COUNT = "vmapi_http_request_duration_seconds_count"


@pytest.mark.parametrize(
    ("method", "path", "labels"),
    [
        ("GET", "/vms", ("GET", "/api/v1/vms", "200")),
        ("GET", f"/vms/{UNKNOWN_ID}", ("GET", "/api/v1/vms/{vm_id}", "404")),
        ("POST", f"/vms/{UNKNOWN_ID}/stop", ("POST", "/api/v1/vms/{vm_id}/stop", "404")),
        ("GET", f"/operations/{UNKNOWN_ID}", ("GET", "/api/v1/operations/{operation_id}", "404")),
        ("GET", f"/nothing/{UNKNOWN_ID}", ("GET", "unknown", "404")),
        ("PUT", "/vms", ("PUT", "unknown", "405")),
        ("INVENTED", "/vms", ("other", "unknown", "405")),
    ],
)
def test_request_is_counted_once_by_template(
    harness: ApiHarness,
    metrics: RecordedMetrics,
    method: str,
    path: str,
    labels: tuple[str, str, str],
) -> None:
    harness.call(method, path)
    names = ("method", "route", "status")
    assert metrics.sum(COUNT, **dict(zip(names, labels, strict=True))) == 1
    assert metrics.sum(COUNT) == 1


def test_problem_is_counted_by_its_code(harness: ApiHarness, metrics: RecordedMetrics) -> None:
    harness.call("GET", f"/vms/{UNKNOWN_ID}")
    assert metrics.sum("vmapi_problems_total", code="vm_not_found") == 1


def test_rate_limited_request_is_counted_by_its_limit(
    harness: ApiHarness, metrics: RecordedMetrics
) -> None:
    limits = {"reads": [RateLimit(1, "minute", "reads")], "changes": [], "address": []}
    limiter = RateLimiter(limits, MemoryCounters(), lambda: 0.0)
    harness.app.extensions["vmapi"] = replace(harness.services, rate_limiter=limiter)
    statuses = [harness.call("GET", "/vms").status_code for _ in range(3)]
    assert statuses == [200, 429, 429]
    assert metrics.sum("vmapi_rate_limited_requests_total", limit="reads") == 2
