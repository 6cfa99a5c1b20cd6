"""The variables of OpenTelemetry switch traces on; a protocol without an exporter is refused."""

import sys

import pytest

from vmapi.errors import SettingsError
from vmapi.telemetry.tracing import exporting

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*exporting.ENDPOINT_VARIABLES, *exporting.PROTOCOL_VARIABLES):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, False),
        ({ENDPOINT: " "}, False),
        ({ENDPOINT: "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({ENDPOINT: "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "True"}, False),
        ({ENDPOINT: "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({ENDPOINT: "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_endpoint_switches_traces_on(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: bool
) -> None:
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    assert exporting.is_configured() is expected


def test_other_protocol_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4317")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(SettingsError) as refused:
        exporting.check()
    assert refused.value.detail == ("OTEL_EXPORTER_OTLP_PROTOCOL 'grpc': allowed is http/protobuf")


def test_endpoint_without_the_packages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    for name in [name for name in sys.modules if name.startswith("opentelemetry.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(SettingsError) as refused:
        exporting.check()
    assert refused.value.detail == (
        "OTEL_EXPORTER_OTLP_ENDPOINT needs OpenTelemetry: pip install 'vmapi[tracing]'"
    )
