"""The checks of `doctor` below HTTP: the proxy, the connection, and the certificate."""

import base64
import os
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from vmapi_client.cli.exit_codes import FAILED, SUCCESS
from vmapi_client.errors import NotReachable, ResponseTimeout
from vmapi_client.http.resolver import resolve_host

if TYPE_CHECKING:
    from vmapi_client.configuration import Configuration

CERTIFICATE_WARNING_DAYS = 14
DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
TLS_REASONS = {
    "WRONG_VERSION_NUMBER": "the server does not use TLS; check the scheme and the port of the URL",
    "UNEXPECTED_EOF_WHILE_READING": "the server ends the connection before TLS begins",
}
ADVICE_BY_VERIFY_CODE = {
    9: "compare the clocks of server and client",
    10: "renew it on the server",
    62: "use a host name of the certificate in the URL",
    64: "use a host name of the certificate in the URL",
}
"""By X509_V_ERR: not yet valid, expired, other name, other address."""


@dataclass(frozen=True)
class Finding:
    """The result of one check: a text, and an exit code unless all is well."""

    text: str
    exit_code: int = SUCCESS


class ConnectionChecks:
    """Checks of the way to a server; `proxy` is the one that the client uses."""

    def __init__(self, configuration: "Configuration", proxy: str | None, seconds: float) -> None:
        parts = urlsplit(configuration.root)
        self._scheme = parts.scheme
        self._host = parts.hostname or ""
        self._port = parts.port or DEFAULT_PORTS[parts.scheme]
        self._ca_file = configuration.ca_file
        self._proxy = proxy
        self._seconds = seconds

    def check_proxy(self) -> Finding:
        """Connect to the proxy. Raises NotReachable."""
        origin, _ = find_proxy_variable(self._scheme)
        text = f"{self._proxy} from {origin}"
        try:
            self._connect(*self._proxy_address).close()
        except OSError as error:
            raise NotReachable(
                f"{text}: {error.strerror or error}; correct it, or add {self._host} to NO_PROXY"
            ) from error
        return Finding(text)

    def check_connection(self) -> Finding:
        """Connect, and check the certificate of HTTPS. Raises NotReachable."""
        try:
            if self._proxy is None:
                return self._check_direct()
            return self._check_through(self._proxy)
        except ssl.SSLCertVerificationError as error:
            raise NotReachable(f"certificate: {describe_distrust(error)}") from error
        except (OSError, HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error)
            reason = TLS_REASONS.get(getattr(error, "reason", ""), reason)
            raise NotReachable(f"{self._host} port {self._port}: {reason}") from error

    def _check_direct(self) -> Finding:
        with self._connect(self._host, self._port) as connection:
            place = f"{connection.getpeername()[0]} port {self._port}"
            if self._scheme == "http":
                return Finding(f"{place}, without TLS")
            context = ssl.create_default_context(cafile=self._ca_file)
            with reporting_stalls(place):
                secure = context.wrap_socket(connection, server_hostname=self._host)
            with secure:
                return describe_certificate(secure, place)

    def _check_through(self, proxy: str) -> Finding:
        place = f"{self._host} port {self._port} through the proxy"
        if self._scheme == "http" or not proxy.startswith("http:"):
            return Finding(f"{place}, checked with the server")
        context = ssl.create_default_context(cafile=self._ca_file)
        host, port = self._proxy_address
        tunnel = HTTPSConnection(host, port, timeout=self._seconds, context=context)
        _, proxy_url = find_proxy_variable(self._scheme)
        tunnel.set_tunnel(self._host, self._port, build_proxy_headers(proxy_url))
        try:
            with reporting_stalls(place):
                tunnel.connect()
            return describe_certificate(tunnel.sock, place)
        finally:
            tunnel.close()

    def _connect(self, host: str, port: int) -> socket.socket:
        resolve_host(host, port, self._seconds)
        return socket.create_connection((host, port), self._seconds)

    @property
    def _proxy_address(self) -> tuple[str, int]:
        parts = urlsplit(self._proxy or "")
        return parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme, 80)


@contextmanager
def reporting_stalls(place: str) -> Iterator[None]:
    """Raise ResponseTimeout where a server that is connected sends nothing in time."""
    try:
        yield
    except TimeoutError as error:
        raise ResponseTimeout(f"{place}: no TLS connection in time") from error


def find_proxy_variable(scheme: str) -> tuple[str, str]:
    """Return name and value of the variable with the proxy for a scheme."""
    for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"):
        if os.environ.get(name):
            return name, os.environ[name]
    return "the system", ""


def build_proxy_headers(proxy_url: str) -> dict[str, str]:
    """Return the credentials of a proxy as a header (RFC 7617)."""
    parts = urlsplit(proxy_url)
    if not parts.username:
        return {}
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(credentials.encode()).decode()}"}


def describe_distrust(error: ssl.SSLCertVerificationError) -> str:
    """Return why a certificate is not trusted, and what to do."""
    advice = ADVICE_BY_VERIFY_CODE.get(error.verify_code, "use --ca-file FILE")
    return f"{error.verify_message.rstrip('.')}; {advice}"


def describe_certificate(connection: ssl.SSLSocket, place: str) -> Finding:
    """Return the days for which the certificate is valid."""
    certificate = connection.getpeercert() or {}
    end = ssl.cert_time_to_seconds(str(certificate.get("notAfter", "")))
    days = int((end - time.time()) // 86400)
    text = f"{place}, {connection.version()}, the certificate is valid for {days} days"
    if days < CERTIFICATE_WARNING_DAYS:
        return Finding(f"{text}: renew it on the server", FAILED)
    return Finding(text)
