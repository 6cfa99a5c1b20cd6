"""Failures of httpx in the words of the core, and the parts that both transports share."""

import logging
import os
import socket
import ssl
import stat
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from vmapi_client.configuration import Configuration
from vmapi_client.core.exchange import Attempt, Failure, FailureKind, Request, Response
from vmapi_client.core.repeats import IN_PROGRESS
from vmapi_client.errors import ConfigurationError
from vmapi_client.http.bodies import BodyTooLarge
from vmapi_client.text_files import describe_file_error, read_text_file

MAX_CERTIFICATES_BYTES = 1 << 24
CONNECT_TIMEOUT_SECONDS = 10.0
PERMANENT_HOST_ERRORS = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))

KINDS_OF_FAILURES: dict[type[Exception], FailureKind] = {
    ConfigurationError: "configuration",
    BodyTooLarge: "too large",
    httpx.UnsupportedProtocol: "url",
    httpx.InvalidURL: "url",
}

logger: logging.Logger = logging.getLogger("vmapi_client")


def describe_failure(error: Exception, proxy: str | None = None) -> Failure:
    """Return the failure of an exception of httpx, behind a proxy or without one."""
    reason = describe_reason(error, proxy)
    for cls, kind in KINDS_OF_FAILURES.items():
        if isinstance(error, cls):
            return Failure(reason, kind, error)
    if isinstance(error, (httpx.ReadTimeout, httpx.WriteTimeout)):
        return Failure("no complete response in time", "timeout", error)
    for cause in _causes(error):
        if isinstance(cause, socket.gaierror) and cause.errno in PERMANENT_HOST_ERRORS:
            return Failure(reason, "host", error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Failure((cause.verify_message or reason).rstrip("."), "certificate", error)
        if isinstance(cause, ssl.SSLError) and cause.reason == "WRONG_VERSION_NUMBER":
            return Failure("The server does not use TLS", "no TLS", error)
    return Failure(reason, error=error)


def describe_reason(error: Exception, proxy: str | None) -> str:
    """Return the reason of a failure; behind a proxy, only the proxy is connected."""
    reason = (str(error) or type(error).__name__).rstrip(".")
    if isinstance(error, httpx.ConnectTimeout):
        reason = "no connection in time"
    if isinstance(error, httpx.PoolTimeout):
        reason = "other calls and streams of the client use all its connections"
    if proxy and isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)):
        reason = f"the proxy {proxy}: {reason}"
    return reason


def incomplete_response(attempt: Attempt) -> Failure:
    """Return the failure of an attempt without a complete response in its time."""
    return Failure(f"the response is not complete after {attempt.timeout:g} s", "timeout")


def build_timeout(attempt: Attempt) -> httpx.Timeout:
    """Return the timeouts of an attempt."""
    return httpx.Timeout(attempt.timeout, connect=min(attempt.timeout, CONNECT_TIMEOUT_SECONDS))


def build_verification(configuration: Configuration) -> ssl.SSLContext | bool:
    """Return the trusted certificates. Raises ConfigurationError for an unreadable file."""
    if configuration.ca_file is None:
        return configuration.root.startswith("https:")
    try:
        return load_certificates(configuration.ca_file)
    except (OSError, ValueError) as error:
        reason = describe_file_error(error)
        raise ConfigurationError(
            f"ca_file {configuration.ca_file} has no certificates: {reason}."
        ) from error


def load_certificates(path: str) -> ssl.SSLContext:
    """Return a context that trusts the certificates of a file. Raises OSError, ValueError."""
    if stat.S_ISREG(os.stat(path).st_mode):
        return ssl.create_default_context(cafile=path)
    # OpenSSL would wait for a pipe without an end
    text, _ = read_text_file(path, MAX_CERTIFICATES_BYTES)
    ascii_text = text.encode("ascii", "replace").decode()
    # without a text, the context would trust the authorities of the system
    return ssl.create_default_context(cadata=ascii_text or "none")


def build_request(
    client: httpx.Client | httpx.AsyncClient, configuration: Configuration, attempt: Attempt
) -> httpx.Request:
    """Build the request of an attempt, with the token. Raises ConfigurationError without it."""
    request: Request = attempt.request
    headers = {"Accept": "application/json", **request.headers}
    token = configuration.read_token()
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return client.build_request(
        request.method,
        configuration.url(request.path, below_root=request.below_root),
        params=request.query or None,
        headers=headers,
        json=request.body,
        timeout=build_timeout(attempt),
    )


def build_response(response: httpx.Response, body: bytes) -> Response:
    """Return a complete response of the core."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Response(response.status_code, headers, body)


def log_delay(attempt: Attempt) -> None:
    """Log why an attempt is a repeat, and when it is made."""
    if attempt.reason:
        level = logging.DEBUG if attempt.reason == IN_PROGRESS else logging.INFO
        message = "%s: %s; next attempt in %.1f s"
        logger.log(level, message, attempt.request, attempt.reason.rstrip("."), attempt.delay)


REPORTED_ERRORS = (httpx.HTTPError, httpx.InvalidURL, ConfigurationError)
"""The errors of an attempt that `describe_failure` describes."""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@contextmanager
def using_environment() -> Iterator[None]:
    """Raise ConfigurationError where the proxies or certificates of the environment are unusable.

    Sources: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `SSL_CERT_FILE`, `SSL_CERT_DIR`.
    """
    try:
        yield
    except (OSError, ImportError, ValueError, httpx.InvalidURL) as error:
        raise ConfigurationError(
            f"The proxy or the certificates of the environment are not usable: {error}"
        ) from error
