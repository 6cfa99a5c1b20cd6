"""`doctor`."""

import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from vmapi_client.cli.app import App, command
from vmapi_client.cli.exit_codes import FAILED, SUCCESS, describe_error, exit_code_of
from vmapi_client.errors import AccessRefused, NotReachable, VmapiError

if TYPE_CHECKING:
    from vmapi_client.configuration import Configuration
    from vmapi_client.sync.client import Client

CHECK_SECONDS = 5.0
MAX_CLOCK_OFFSET_SECONDS = 30.0
CERTIFICATE_WARNING_DAYS = 14


@dataclass(frozen=True)
class Finding:
    """The result of one check: a text, and an exit code unless all is well."""

    text: str
    exit_code: int = SUCCESS


@command("doctor", examples="vmctl doctor\nvmctl doctor --context prod")
@click.pass_obj
def diagnose(app: App) -> int:
    """Check URL, certificate, token, clock and version.

    Each line is one check. The exit code is the one of the first failure.
    """
    code = SUCCESS
    for title, finding in run_checks(app):
        mark = "ok" if finding.exit_code == SUCCESS else "FAILED"
        print(f"{mark:<7} {title:<12} {finding.text}", flush=True)
        code = code or finding.exit_code
    if code != SUCCESS:
        print("vmctl: the first failed check is the one to mend first", file=sys.stderr)
    return code


def run_checks(app: App) -> Iterator[tuple[str, Finding]]:
    """Yield a finding for each check. A failure of an early check ends the checks."""
    try:
        client = app.build_client(CHECK_SECONDS)
    except VmapiError as error:
        yield "url", Finding(describe_error(error), exit_code_of(error))
        return
    with client:
        configuration = client.configuration
        yield "url", Finding(f"{configuration.root} from {configuration.server.url_origin}")
        needed: list[tuple[str, Callable[[], Finding]]] = [
            ("connection", lambda: check_connection(configuration)),
            ("server", lambda: check_readiness(client)),
            ("clock", lambda: check_clock(client)),
            ("token", lambda: check_token(client)),
        ]
        for title, check in needed:
            finding = run_check(check)
            yield title, finding
            if finding.exit_code != SUCCESS and title == "connection":
                return


def run_check(check: Callable[[], Finding]) -> Finding:
    """Run a check; an error is its finding."""
    try:
        return check()
    except VmapiError as error:
        return Finding(describe_error(error), exit_code_of(error))


def check_connection(configuration: "Configuration") -> Finding:
    """Connect, and check the certificate of HTTPS."""
    parts = urlsplit(configuration.root)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = parts.hostname or ""
    try:
        with socket.create_connection((host, port), CHECK_SECONDS) as connection:
            address = connection.getpeername()[0]
            if parts.scheme == "http":
                return Finding(f"{address} port {port}, without TLS")
            context = ssl.create_default_context(cafile=configuration.ca_file)
            with context.wrap_socket(connection, server_hostname=host) as secure:
                return describe_certificate(secure, f"{address} port {port}")
    except ssl.SSLCertVerificationError as error:
        raise NotReachable(f"certificate: {error.verify_message}; use --ca-file FILE") from error
    except OSError as error:
        raise NotReachable(f"{host} port {port}: {error.strerror or error}") from error


def describe_certificate(connection: ssl.SSLSocket, place: str) -> Finding:
    """Return the days for which the certificate is valid."""
    certificate = connection.getpeercert() or {}
    end = ssl.cert_time_to_seconds(str(certificate.get("notAfter", "")))
    days = int((end - time.time()) // 86400)
    text = f"{place}, {connection.version()}, the certificate is valid for {days} days"
    return Finding(text, FAILED if days < CERTIFICATE_WARNING_DAYS else SUCCESS)


def check_readiness(client: "Client") -> Finding:
    """Read the readiness and the version."""
    version = client.health().version
    base_path = client.configuration.base_path
    readiness = client.readiness()
    states = ", ".join(f"{name} {state}" for name, state in readiness.dependencies.items())
    text = f"{readiness.status} ({states}), API {version} at {base_path}"
    return Finding(text, SUCCESS if readiness.status == "ready" else FAILED)


def check_clock(client: "Client") -> Finding:
    """Compare the clocks: tokens and --older-than depend on them."""
    begin = datetime.now(timezone.utc)
    server = client.health().timestamp
    end = datetime.now(timezone.utc)
    offset = (server - begin - (end - begin) / 2).total_seconds()
    text = f"this clock differs by {abs(offset):.1f} s from the one of the server"
    return Finding(text, FAILED if abs(offset) > MAX_CLOCK_OFFSET_SECONDS else SUCCESS)


def check_token(client: "Client") -> Finding:
    """Send reads with the token."""
    origin = client.configuration.server.token_origin or "no token"
    next(client.vms.list(page_size=1), None)
    try:
        next(client.audit(page_size=1), None)
    except AccessRefused:
        return Finding(f"accepted ({origin}), without the role admin")
    return Finding(f"accepted ({origin}), with the role admin")
