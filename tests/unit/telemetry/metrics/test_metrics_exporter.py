"""The HTTP server of the metrics, and its listening socket."""

import socket
from collections.abc import Iterator

import pytest

from tests.support.http_client import HttpClient
from tests.support.metrics import RecordedMetrics, scrape
from tests.support.processes import free_port
from vmapi.errors import SettingsError
from vmapi.telemetry.metrics.catalog import DATABASE_UP, HTTP_REQUEST_SECONDS
from vmapi.telemetry.metrics.exporter import MetricsExporter, open_listener
from vmapi.telemetry.metrics.metric import Sample


@pytest.fixture
def port(metrics: RecordedMetrics) -> Iterator[int]:
    """The port of an exporter of the registry."""
    port = free_port()
    exporter = MetricsExporter(open_listener(f"127.0.0.1:{port}", "NAME"), metrics.registry)
    exporter.start()
    yield port
    exporter.stop()


def test_metrics_are_served_as_text_of_prometheus(port: int) -> None:
    HTTP_REQUEST_SECONDS.observe(0.2, "GET", "/livez", "200")
    response = HttpClient(port)("GET", "/metrics")
    assert response.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert scrape(port).sum(f"{HTTP_REQUEST_SECONDS.name}_count", route="/livez") == 1


def test_openmetrics_is_served_on_demand(port: int) -> None:
    accepted = {"Accept": "application/openmetrics-text;version=1.0.0"}
    response = HttpClient(port)("GET", "/metrics", headers=accepted)
    assert response.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert response.body.endswith(b"# EOF\n")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/api/v1/vms"])
def test_other_paths_are_not_found(port: int, path: str) -> None:
    response = HttpClient(port)("GET", path)
    assert response.status == 404
    assert b"Metrics are at /metrics." in response.body


def test_other_methods_are_refused(port: int) -> None:
    assert HttpClient(port)("POST", "/metrics").status == 501


def test_client_that_sends_nothing_does_not_block_the_next_one(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmapi.telemetry.metrics.exporter.MetricsHandler.timeout", 1.0)
    with socket.create_connection(("127.0.0.1", port)):
        scrape(port)


def test_failed_collection_is_a_500(port: int, metrics: RecordedMetrics) -> None:
    def fail() -> list[Sample]:
        raise ValueError

    metrics.registry.add_source(fail)
    assert HttpClient(port)("GET", "/metrics").status == 500


def test_address_in_use_is_an_error_of_the_setting(port: int) -> None:
    with pytest.raises(SettingsError) as error:
        open_listener(f"127.0.0.1:{port}", "VMAPI_METRICS_BIND")
    expected = f"cannot serve at 127.0.0.1:{port} (VMAPI_METRICS_BIND): Address already in use"
    assert error.value.detail == expected


def test_server_that_replaces_another_shares_its_port(port: int) -> None:
    open_listener(f"127.0.0.1:{port}", "NAME", shares_port=True).close()


def test_port_out_of_range_is_an_error_of_the_setting() -> None:
    with pytest.raises(SettingsError) as error:
        open_listener("127.0.0.1:99999", "NAME")
    assert "cannot serve at 127.0.0.1:99999 (NAME)" in error.value.detail


def test_source_of_samples_is_read_by_no_registration(metrics: RecordedMetrics) -> None:
    calls = []
    metrics.registry.add_source(lambda: calls.append(1) or [(DATABASE_UP, (), 1)])
    assert calls == []
