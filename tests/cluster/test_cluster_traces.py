"""One trace across the API and a Celery worker, with the statements of PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.engine_worker import EngineWorker
from tests.support.http_client import wait_until
from tests.support.kill_test import build_settings
from tests.support.live import postgresql, rabbitmq
from tests.support.otlp_receiver import OtlpReceiver, ReceivedSpan, run_receiver
from tests.support.processes import Gunicorn, require_installed, run_flask
from tests.support.stateful_nova import run_stateful_nova

NEW_VM = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"}
CREATE = "POST /api/v1/vms"


@pytest.fixture(autouse=True)
def required_services() -> None:
    require_installed("postgresql", is_installed=postgresql.find_programs() is not None)
    require_installed("rabbitmq", is_installed=rabbitmq.is_installed())


@contextmanager
def run_celery_deployment(folder: Path, receiver: OtlpReceiver) -> Iterator[Gunicorn]:
    """Run an API and a Celery worker on PostgreSQL, RabbitMQ and a simulated Nova."""
    with (
        run_stateful_nova(loses_responses=False) as (cloud_url, _),
        postgresql.serve_postgresql() as database,
        rabbitmq.serve_rabbitmq() as broker,
    ):
        settings = build_settings(cloud_url, folder) | receiver.settings
        settings |= {"VMAPI_DATABASE_URL": database.url, "VMAPI_ENGINE": "celery"}
        settings |= {"VMAPI_BROKER_URL": broker.url}
        run_flask(folder, settings, "db", "upgrade")
        api = Gunicorn(folder, OTEL_SERVICE_NAME="api", **settings)
        worker = EngineWorker(folder, OTEL_SERVICE_NAME="engine", **settings)
        try:
            worker.start()
            api.start().wait_for("/readyz")
            yield api
        finally:
            api.stop()
            worker.stop()


def find_statements(receiver: OtlpReceiver, path: list[str]) -> list[ReceivedSpan]:
    """Return the statements of PostgreSQL below a path of spans."""
    return [
        span
        for span in receiver.spans
        if span.attributes.get("db.system.name") == "postgresql"
        and receiver.path(span)[: len(path)] == path
    ]


def test_celery_worker_continues_the_trace_of_the_request(tmp_path: Path) -> None:
    reconciled = [CREATE, "submit operation", "reconcile create"]
    with run_receiver() as receiver, run_celery_deployment(tmp_path, receiver) as api:
        assert api.call("POST", "/api/v1/vms", NEW_VM).status == 202
        stop = receiver.wait_for("dispatch stop")
        wait_until("the spans", lambda: receiver.path(stop) == [*reconciled, "dispatch stop"])
        statements = wait_until("SQL", lambda: find_statements(receiver, reconciled))
    assert {span.resource["service.name"] for span in (stop, *statements)} == {"engine"}
    (request,) = receiver.find(CREATE)
    inserted = receiver.find("INSERT", db__system__name="postgresql")
    assert request.trace_id in {span.trace_id for span in inserted}
    assert {request.trace_id} == {stop.trace_id, *(span.trace_id for span in statements)}
