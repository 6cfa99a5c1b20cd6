"""Failures of httpx in the words of the core, and the parts that both transports share."""

import logging
import socket
import ssl
from collections.abc import Iterator

import httpx

from vmapi_client.configuration import Configuration
from vmapi_client.core.exchange import Attempt, Failure, Request, Response
from vmapi_client.core.repeats import IN_PROGRESS
from vmapi_client.errors import ConfigurationError

CONNECT_TIMEOUT_SECONDS = 10.0
PERMANENT_HOST_ERRORS = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))

logger: logging.Logger = logging.getLogger("vmapi_client")


def describe_failure(error: Exception) -> Failure:
    """Return the failure of an exception of httpx."""
    causes = list(_causes(error))
    reason = str(error) or type(error).__name__
    if isinstance(error, (httpx.UnsupportedProtocol, httpx.InvalidURL)):
        return Failure(reason, "url", error)
    for cause in causes:
        if isinstance(cause, socket.gaierror) and cause.errno in PERMANENT_HOST_ERRORS:
            return Failure(reason, "host", error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Failure(cause.verify_message or reason, "certificate", error)
        if isinstance(cause, ssl.SSLError) and cause.reason in ("WRONG_VERSION_NUMBER",):
            return Failure("the server does not use TLS", "certificate", error)
    return Failure(reason, error=error)


def build_timeout(attempt: Attempt) -> httpx.Timeout:
    """Return the timeouts of an attempt."""
    return httpx.Timeout(attempt.timeout, connect=min(attempt.timeout, CONNECT_TIMEOUT_SECONDS))


def build_verification(configuration: Configuration) -> ssl.SSLContext | bool:
    """Return the trusted certificates. Raises ConfigurationError for an unreadable file."""
    if configuration.ca_file is None:
        return configuration.root.startswith("https:")
    try:
        return ssl.create_default_context(cafile=configuration.ca_file)
    except OSError as error:
        raise ConfigurationError(f"ca_file {configuration.ca_file}: {error}") from error


def build_request(
    client: httpx.Client | httpx.AsyncClient, configuration: Configuration, attempt: Attempt
) -> httpx.Request:
    """Build the request of an attempt, with the token."""
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
        logger.log(level, message, attempt.request, attempt.reason, attempt.delay)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
