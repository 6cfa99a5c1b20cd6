"""An operation that crashes vmapi at each attempt fails after a bounded number of them."""

from collections.abc import Callable

import pytest

from tests.support.http_client import wait_until
from tests.support.metrics import scrape
from tests.support.processes import Gunicorn, free_port
from vmapi.services.reconciler.defects import MAX_DEFECTS

pytestmark = pytest.mark.disruption

CREATE_BODY = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros", "start": True}
DETAIL = f"vmapi failed in {MAX_DEFECTS} attempts. LookupError: a defect of vmapi, see its log."


def test_poison_operation_fails_with_its_reason_and_delays_no_other(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    metrics_port = free_port()
    server = gunicorn(VMAPI_MEMORY_LATENCY="0.1", VMAPI_METRICS_BIND=f"127.0.0.1:{metrics_port}")
    server.start(app="tests.support.poisoned_app:app").wait_for("/readyz")
    headers = {"Prefer": "wait=10"}
    vm = server.call("POST", "/api/v1/vms", CREATE_BODY, headers=headers).json
    restart = server.call(
        "POST", f"/api/v1/vms/{vm['id']}/restart", headers={"Idempotency-Key": "k"}
    )
    path = f"/api/v1/operations/{restart.headers['Operation-Location'].rpartition('/')[2]}"
    other = server.call("POST", "/api/v1/vms", {**CREATE_BODY, "name": "web-2"}, headers=headers)
    assert other.status == 201
    wait_until("the end", lambda: server.call.get_json(path)["status"] == "failed", 180)
    error = server.call.get_json(path)["error"]
    assert (error["code"], error["detail"]) == ("internal_error", DETAIL)
    line = server.wait_for_line(message="operation abandoned", level="error")
    assert line["operation_id"] == path.rpartition("/")[2]
    assert scrape(metrics_port).sum("vmapi_operations_abandoned_total", action="restart") == 1
    stopped = server.call("POST", f"/api/v1/vms/{vm['id']}/stop", headers=headers)
    assert (stopped.status, stopped.json["status"]) == (200, "STOPPED")
    assert "hunter2" not in str(server.call.get_json(path))
