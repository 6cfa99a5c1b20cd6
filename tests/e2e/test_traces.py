"""Traces: a request, its SQL, its calls of Nova and the engine in one trace, over OTLP/HTTP."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.engine_worker import EngineWorker
from tests.support.http_client import wait_until
from tests.support.kill_test import build_settings
from tests.support.otlp_receiver import NOT_RECEIVED, OtlpReceiver, ReceivedSpan, run_receiver
from tests.support.processes import Gunicorn, ServerProcess
from tests.support.stateful_nova import StatefulNova, run_stateful_nova

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"
"""The example of W3C Trace Context, sampled."""

REQUEST_ID = "req-6b0c6a6e-0b0e-4c55-9f0e-0c8f3c3f3a11"
USER_DATA = "#cloud-config password: hunter2"
NEW_VM = {"name": "web-of-alice", "flavor": "m1.tiny", "image": "cirros", "user_data": USER_DATA}
CREATE = "POST /api/v1/vms"
IN_REQUEST, IN_ENGINE = [NOT_RECEIVED, CREATE, "submit operation"], "reconcile create"
"""The path of spans in a traced request, and the span of the engine."""

SERVER_KIND, CLIENT_KIND = 2, 3
EXPORT_TIMEOUT_SECONDS = 90


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with run_receiver() as receiver:
        yield receiver


@pytest.fixture
def cloud() -> Iterator[tuple[str, StatefulNova]]:
    """The URL of a Nova in which tasks end, and its servers."""
    with run_stateful_nova(loses_responses=False) as cloud:
        yield cloud


@pytest.fixture
def settings(
    receiver: OtlpReceiver, tmp_path: Path, cloud: tuple[str, StatefulNova]
) -> dict[str, str]:
    """The settings of the API and of a worker."""
    return {**build_settings(cloud[0], tmp_path), **receiver.settings}


def start(api: Gunicorn) -> Gunicorn:
    api.start().wait_for("/readyz")
    return api


def create_vm(api: Gunicorn) -> None:
    """Create a stopped VM, in the trace of a client."""
    headers = {"traceparent": TRACEPARENT, "X-Request-ID": REQUEST_ID}
    created = api.call("POST", "/api/v1/vms", NEW_VM, headers=headers)
    assert created.status == 202, created


def wait_for_stop(receiver: OtlpReceiver) -> ReceivedSpan:
    """Wait for the end of a create: Nova has stopped the VM."""
    stop = receiver.wait_for("dispatch stop")
    # a span is sent after those below it
    wait_until("the spans above", lambda: receiver.path(stop)[: len(IN_REQUEST)] == IN_REQUEST)
    wait_until("the end of the operation", lambda: len(receiver.find(IN_ENGINE)) > 1)
    return stop


def find_paths(receiver: OtlpReceiver) -> set[tuple[str, ...]]:
    """Return the paths of all spans of the client's trace."""
    spans = [span for span in receiver.spans if span.trace_id == TRACE_ID]
    return {tuple(receiver.path(span)) for span in spans}


def test_create_is_one_trace_from_the_request_to_the_engine(
    gunicorn: Callable[..., Gunicorn], settings: dict[str, str], receiver: OtlpReceiver
) -> None:
    api = start(gunicorn(**settings))
    create_vm(api)
    wait_for_stop(receiver)
    (request,) = receiver.find(CREATE)
    assert (request.trace_id, request.parent_id, request.kind) == (TRACE_ID, PARENT_ID, SERVER_KIND)
    assert request.attributes["vmapi.request_id"] == REQUEST_ID
    assert request.attributes["http.response.status_code"] == 202
    assert find_paths(receiver) >= {
        (*IN_REQUEST, "GET /flavors/detail"),
        (*IN_REQUEST, "database write", "INSERT"),
        (*IN_REQUEST, "dispatch create", "POST /servers"),
        (*IN_REQUEST, IN_ENGINE, "database write", "UPDATE"),
        (*IN_REQUEST, IN_ENGINE, "dispatch stop", "POST /servers/{id}/action os-stop"),
    }
    for call in ("POST /servers", "POST /servers/{id}/action os-stop"):
        (span,) = receiver.find(call)
        assert span.kind == CLIENT_KIND
        assert span.attributes["openstack.global_request_id"] == REQUEST_ID
        assert span.attributes["openstack.request_id"].startswith("req-")
    line = api.wait_for_line(message="vm create succeeded")
    assert (line["trace_id"], line["request_id"]) == (TRACE_ID, REQUEST_ID)
    assert api.wait_for_line(endpoint=CREATE)["span_id"] == request.id


def test_nova_gets_the_trace_of_the_client(
    gunicorn: Callable[..., Gunicorn],
    settings: dict[str, str],
    receiver: OtlpReceiver,
    cloud: tuple[str, StatefulNova],
) -> None:
    create_vm(start(gunicorn(**settings)))
    wait_for_stop(receiver)
    spans = [
        receiver.wait_for(call) for call in ("POST /servers", "POST /servers/{id}/action os-stop")
    ]
    assert cloud[1].traceparents == [f"00-{TRACE_ID}-{span.id}-01" for span in spans]


def test_spans_have_no_value_of_the_client(
    gunicorn: Callable[..., Gunicorn], settings: dict[str, str], receiver: OtlpReceiver
) -> None:
    api = start(gunicorn(**settings))
    create_vm(api)
    api.call("GET", "/api/v1/vms?name=web-of-alice", headers={"Authorization": "Bearer hunter2"})
    api.call("GET", "/api/v1/hunter2?token=hunter2")
    wait_for_stop(receiver)
    receiver.wait_for("GET /api/v1/vms")
    receiver.wait_for("GET")
    # vmapi's own password at the cloud, too
    for text in (b"hunter2", b"web-of-alice", b"something", USER_DATA.encode()):
        assert not any(text in body for body in receiver.bodies), text


def test_worker_continues_the_trace_of_the_request(
    gunicorn: Callable[..., Gunicorn],
    settings: dict[str, str],
    receiver: OtlpReceiver,
    tmp_path: Path,
    servers: list[ServerProcess],
) -> None:
    settings |= {"VMAPI_ENGINE": "worker"}
    api = start(gunicorn(**settings, OTEL_SERVICE_NAME="api"))
    worker = EngineWorker(tmp_path, **settings, OTEL_RESOURCE_ATTRIBUTES="service.name=engine,a=b")
    servers.append(worker)
    create_vm(api)
    worker.start()
    stop = wait_for_stop(receiver)
    assert receiver.path(stop) == [*IN_REQUEST, IN_ENGINE, "dispatch stop"]
    assert (stop.resource["service.name"], stop.resource["a"]) == ("engine", "b")
    assert receiver.find(CREATE)[0].resource["service.name"] == "api"


def test_stop_sends_the_last_spans(
    gunicorn: Callable[..., Gunicorn], settings: dict[str, str], receiver: OtlpReceiver
) -> None:
    api = start(gunicorn(**settings | {"OTEL_BSP_SCHEDULE_DELAY": "3600000"}))
    create_vm(api)
    assert receiver.spans == []
    api.stop()
    assert receiver.find(CREATE)[0].resource["service.name"] == "vmapi"


def test_read_that_is_repeated_in_another_thread_has_one_span(
    gunicorn: Callable[..., Gunicorn], settings: dict[str, str], receiver: OtlpReceiver
) -> None:
    api = start(gunicorn(**settings))
    # the first read of each worker opens the database, which the poller thread does not wait for
    for number in range(10):
        headers = {"X-Request-ID": f"read-{number}"}
        assert api.call("GET", "/api/v1/vms", headers=headers).status == 200
    api.stop()
    reads = receiver.find("GET /api/v1/vms")
    assert sorted(read.attributes["vmapi.request_id"] for read in reads) == [
        f"read-{number}" for number in range(10)
    ]
    assert not any(NOT_RECEIVED in receiver.path(span) for span in receiver.spans)


def test_receiver_that_is_away_fails_no_request_and_no_stop(
    gunicorn: Callable[..., Gunicorn], settings: dict[str, str], tmp_path: Path
) -> None:
    api = start(gunicorn(**settings | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}))
    create_vm(api)
    api.process.terminate()
    assert api.wait_for_exit() == 0


def test_receiver_that_hangs_delays_no_request(
    gunicorn: Callable[..., Gunicorn], settings: dict[str, str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        # a queue of ten spans is full at once
        small_queue = {"OTEL_BSP_MAX_QUEUE_SIZE": "10", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "5"}
        exporter = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_TIMEOUT": str(EXPORT_TIMEOUT_SECONDS),
        }
        api = start(gunicorn(**settings | small_queue | exporter))
        create_vm(api)
        with silent.accept()[0]:
            for _ in range(100):
                began_at = time.monotonic()
                assert api.call("GET", "/api/v1/vms").status == 200
                assert time.monotonic() - began_at < EXPORT_TIMEOUT_SECONDS / 2


@pytest.mark.parametrize("variable", ["OTEL_SDK_DISABLED=true", "OTEL_TRACES_EXPORTER=none"])
def test_variable_disables_traces(
    gunicorn: Callable[..., Gunicorn],
    settings: dict[str, str],
    receiver: OtlpReceiver,
    variable: str,
) -> None:
    name, text = variable.split("=")
    api = start(gunicorn(**settings, **{name: text}))
    create_vm(api)
    api.stop()
    assert receiver.spans == []
    assert "trace_id" not in api.wait_for_line(endpoint=CREATE)
