"""Failed requests to the cloud as errors of `vmapi.errors`.

No other module translates failures of the SDK. Inside the session a request fails in one of three
ways: `RequestNotSent`, `NoResponse`, or an `ErrorResponse`. `translate_errors` turns each into an
error of the domain. Invariants:

- A change with a lost response becomes BackendTimeout (unknown outcome); a change that was never
  sent, or that Nova itself does not accept at present, becomes BackendUnavailable.
- Only Nova speaks for Nova: an error response without the marks of `nova_faults` says nothing about
  a server. For a change it is a lost response.
"""

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import orjson
import requests
import urllib3
from keystoneauth1.exceptions import ClientException, EndpointNotFound, Unauthorized
from openstack.exceptions import SDKException, ServiceDisabledException

from vmapi import errors
from vmapi.backends.openstack.failures.causes import causes_of, describe_cause
from vmapi.backends.openstack.failures.error_messages import error_for_message
from vmapi.backends.openstack.failures.exceptions import (
    CatalogItemNotFound,
    CredentialsRefused,
    ErrorResponse,
    NoResponse,
    NovaItemNotFound,
    OutcomeUnproven,
    RequestNotSent,
    RequestsThrottled,
)
from vmapi.backends.openstack.failures.nova_faults import (
    NovaFault,
    is_keystone_outage,
    is_token_refusal,
    parse_nova_fault,
    request_id_of,
)
from vmapi.backends.openstack.failures.retry_after import parse_retry_after

SDK_ERRORS = (ClientException, SDKException, OSError)
"""Exceptions of the SDK and of requests without a response; requests raises OSErrors only."""

TLS_FILE_ERROR_PREFIXES = ("Could not find a suitable TLS", "Could not find the TLS")
"""How requests names a file of the TLS options that does not exist: it sends nothing then."""

NOT_SENT_ERRORS = (
    requests.ConnectTimeout,
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ProxyError,
    ssl.SSLCertVerificationError,
)
TIMEOUT_ERRORS = (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError)
TRUNCATED_RESPONSE_ERRORS = (
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)
NOT_RETRIED_ERRORS = (
    *TIMEOUT_ERRORS,
    *TRUNCATED_RESPONSE_ERRORS,
    requests.ConnectTimeout,
    requests.exceptions.SSLError,
)
"""Errors that a retry would repeat, or would meet after the same wait."""

MAX_RETRIED_ELAPSED = timedelta(seconds=1)
"""A slower error response is not retried: the service is overloaded."""


@contextmanager
def translate_errors(service: str, *, is_change: bool) -> Iterator[None]:
    """Raise an error of the domain for a request that fails in the `with` block."""
    try:
        yield
    except ErrorResponse as error:
        raise error_for_response(error.response, service, is_change=is_change) from error
    except (RequestNotSent, NoResponse) as error:
        raise _error_for_failure(error, service, is_change=is_change) from error.__cause__


@contextmanager
def wrapping_sdk_errors(error_class: type[RequestNotSent | NoResponse]) -> Iterator[None]:
    """Raise `error_class` from an SDK error.

    It must wrap the call directly: a `raise` in between changes the context of the error.
    """
    try:
        yield
    except SDK_ERRORS as error:
        raise error_class from error


@contextmanager
def parsing(service: str) -> Iterator[None]:
    """Raise BackendError for a response with JSON of an unexpected shape."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        detail = f"The cloud's {service} service sent a response that vmapi cannot read."
        raise errors.BackendError(detail) from error


@contextmanager
def proving_outcome() -> Iterator[None]:
    """Raise OutcomeUnproven for a response to a change that cannot be read."""
    try:
        with parsing("compute"):
            yield
    except errors.BackendError as error:
        raise OutcomeUnproven(f"{error.detail} The outcome of the change is unknown.") from error


def is_transient(error: Exception) -> bool:
    """Return whether a read may be retried at once.

    The failure was fast, and a retry may succeed.
    """
    if isinstance(error, ErrorResponse):
        response = error.response
        is_retried = response.status_code in (502, 503) and "Retry-After" not in response.headers
        return is_retried and response.elapsed < MAX_RETRIED_ELAPSED
    causes = list(causes_of(error.__cause__))
    is_lasting = any(isinstance(cause, NOT_RETRIED_ERRORS) for cause in causes)
    return not is_lasting and any(isinstance(cause, requests.ConnectionError) for cause in causes)


def error_for_response(
    response: requests.Response, service: str, *, is_change: bool
) -> errors.VmapiError:
    """Return the error for a response with a status of 300 or more."""
    if is_token_refusal(response):
        return _credentials_refused()
    if service != "compute":
        return _error_for_catalog_response(response, service)
    if is_keystone_outage(response):
        return _error_for_busy_service(response, "The cloud's identity service")
    fault = parse_nova_fault(response)
    if fault is not None:
        return _error_for_nova_fault(response, fault, is_change=is_change)
    if is_change:
        return _error_for_unproven_change(response)
    detail = f"The response is not Nova's own (HTTP {response.status_code})."
    return _error_for_read(response, detail)


def _error_for_nova_fault(
    response: requests.Response, fault: NovaFault, *, is_change: bool
) -> errors.VmapiError:
    """Return the error for Nova's own response."""
    status, subject = fault.status, "The cloud's compute service"
    if status in (413, 429, 503):
        return _error_for_busy_service(response, subject)
    if status in (502, 504) and is_change:
        return errors.BackendTimeout(f"{subject} lost the response (HTTP {status}).")
    if status == 501 and fault.server_id is not None:
        return errors.InvalidState("This cloud does not support the action.")
    is_create = is_change and fault.server_id is None
    error = error_for_message(status, fault.message, server_id=fault.server_id, is_create=is_create)
    if status < 500 and error is not None:
        return error
    detail = f"{subject} failed (HTTP {status})."
    return NovaItemNotFound(detail) if status == 404 else errors.BackendError(detail)


def _error_for_unproven_change(response: requests.Response) -> errors.VmapiError:
    """Return the error for a change with a response that is not Nova's own."""
    status = response.status_code
    error_class = OutcomeUnproven if status < 500 else errors.BackendTimeout
    error = error_class(
        f"The response to the change is not Nova's own (HTTP {status}): the outcome is unknown."
    )
    if "Retry-After" in response.headers:
        error.retry_after = parse_retry_after(response)
    return error


def _error_for_catalog_response(response: requests.Response, service: str) -> errors.VmapiError:
    """Return the error for a response of Glance or Neutron, which get reads only."""
    status, subject = response.status_code, f"The cloud's {service} service"
    if status == 401:
        return _credentials_refused()
    if status < 500 and (error := error_for_message(status, _fault_message(response))):
        return error
    detail = f"{subject} failed (HTTP {status})."
    if status == 404 and request_id_of(response):
        return CatalogItemNotFound(detail)
    return _error_for_read(response, detail, subject)


def _error_for_read(
    response: requests.Response, detail: str, subject: str = "The cloud's compute service"
) -> errors.VmapiError:
    """Return the error for a failed read: try again later, or a failure of the cloud."""
    if response.status_code in (429, 503):
        return _error_for_busy_service(response, subject)
    return errors.BackendError(detail)


def _error_for_busy_service(response: requests.Response, subject: str) -> errors.BackendUnavailable:
    """Return the error for a service that does nothing at present. A 429 proves that it is up."""
    status = response.status_code
    error_class = errors.BackendUnavailable if status == 503 else RequestsThrottled
    detail = f"{subject} does not accept requests at present (HTTP {status})."
    return error_class(detail, retry_after=parse_retry_after(response))


def _error_for_failure(
    failure: RequestNotSent | NoResponse, service: str, *, is_change: bool
) -> errors.VmapiError:
    """Return the error for a request without a response, with the reason for operators."""
    cause = failure.__cause__
    if isinstance(failure, RequestNotSent):
        error = _error_for_not_sent(cause, service)
    else:
        error = _error_for_no_response(cause, service, is_change=is_change)
    if error.backend_unresponsive:
        error.reason = describe_cause(cause)
    return error


def _error_for_not_sent(cause: BaseException | None, service: str) -> errors.VmapiError:
    if isinstance(cause, Unauthorized):
        return _credentials_refused()
    if isinstance(cause, EndpointNotFound | ServiceDisabledException):
        return errors.BackendError(f"The cloud offers no {service} service to this project.")
    if (tls_file_error := _error_for_tls_file([cause])) is not None:
        return tls_file_error
    response = getattr(cause, "response", None)
    wait = parse_retry_after(response) if isinstance(response, requests.Response) else 5
    if isinstance(response, requests.Response) and response.status_code == 429:
        detail = "The cloud's identity service does not accept requests at present (HTTP 429)."
        return RequestsThrottled(detail, retry_after=wait)
    detail = f"The cloud's identity service or its {service} service cannot be reached."
    return errors.BackendUnavailable(detail, retry_after=wait)


def _error_for_no_response(
    failure: BaseException | None, service: str, *, is_change: bool
) -> errors.VmapiError:
    causes, subject = list(causes_of(failure)), f"The cloud's {service} service"
    if (tls_file_error := _error_for_tls_file(causes)) is not None:
        return tls_file_error
    if any(isinstance(cause, NOT_SENT_ERRORS) for cause in causes):
        return errors.BackendUnavailable(f"{subject} cannot be reached.")
    if any(isinstance(cause, TIMEOUT_ERRORS) for cause in causes):
        return errors.BackendTimeout(f"{subject} did not respond in time.")
    if is_change:
        return errors.BackendTimeout(f"{subject} closed the connection before its response.")
    if any(isinstance(cause, TRUNCATED_RESPONSE_ERRORS) for cause in causes):
        return errors.BackendError(f"{subject} closed the connection during its response.")
    return errors.BackendUnavailable(f"{subject} closed the connection before its response.")


def _error_for_tls_file(
    causes: Iterable[BaseException | None],
) -> errors.BackendUnavailable | None:
    for cause in causes:
        if str(cause).startswith(TLS_FILE_ERROR_PREFIXES):
            return errors.BackendUnavailable(f"vmapi cannot connect to the cloud. {cause}")
    return None


def _credentials_refused() -> CredentialsRefused:
    return CredentialsRefused("The cloud refuses the credentials of vmapi.", retry_after=60)


def _fault_message(response: requests.Response) -> str:
    """Return the error message in a response's JSON; empty without one."""
    try:
        body: Any = orjson.loads(response.content)
        (fault,) = body.values()
        return str(fault["message"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return ""
