"""Export spans over OTLP/HTTP, as the standard variables of OpenTelemetry say.

Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from vmapi import __version__
from vmapi.errors import SettingsError
from vmapi.telemetry.tracing.tracer import TRACER

ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOL_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"
"""The only protocol that vmapi exports."""

EXPORTER_PACKAGE = "opentelemetry.exporter.otlp.proto.http"


def is_configured() -> bool:
    """Return whether the environment names a receiver of spans, and does not disable them."""
    is_disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip() or "otlp"
    return bool(_first(ENDPOINT_VARIABLES)) and not is_disabled and exporter != "none"


def check() -> None:
    """Check the variables and the packages. Raises SettingsError."""
    if not is_configured():
        return
    protocol = _first(PROTOCOL_VARIABLES) or PROTOCOL
    if protocol != PROTOCOL:
        raise SettingsError(f"OTEL_EXPORTER_OTLP_PROTOCOL {protocol!r}: allowed is {PROTOCOL}")
    if not _is_installed():
        raise SettingsError(
            "OTEL_EXPORTER_OTLP_ENDPOINT needs OpenTelemetry: pip install 'vmapi[tracing]'"
        )


def start() -> None:
    """Record and export spans in this process, if the environment says so.

    This starts a thread: call it after the server has forked.
    """
    if not is_configured():
        return
    # loaded only where it is asked for
    from vmapi.telemetry.tracing.provider import build_recorder

    TRACER.enable(build_recorder(__version__))


@contextmanager
def exporting() -> Iterator[None]:
    """Export spans while the block lasts, if the environment says so. Raises SettingsError."""
    check()
    start()
    try:
        yield
    finally:
        TRACER.stop()


def _first(names: tuple[str, ...]) -> str:
    """Return the value of the first variable that is set and not empty."""
    return next((text for name in names if (text := os.environ.get(name, "").strip())), "")


def _is_installed() -> bool:
    try:
        return find_spec(EXPORTER_PACKAGE) is not None
    except ModuleNotFoundError:
        return False
