"""From what goes wrong between us and the cloud to `vmapi.errors`: here, and nowhere else.

Inside the driver three things fly: `Refusal`, `Unsent`, `Unanswered`. `translated` turns them into
the domain's errors: a change whose answer was lost is told from one that was never sent.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import orjson
import requests
import urllib3
from keystoneauth1.exceptions import ClientException, EndpointNotFound, Unauthorized
from openstack.exceptions import SDKException, ServiceDisabledException

from vmapi import errors
from vmapi.backends.openstack import error_messages as sentences

SDK_ERRORS = (ClientException, SDKException, requests.RequestException, TimeoutError)
"""What the SDK raises when there is no answer."""

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
"""What a second try would only wait for, or meet again."""

MAX_RETRIED_ELAPSED = timedelta(seconds=1)
MAX_RETRY_AFTER = 300


class ErrorResponse(Exception):
    """An answer that is no success."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__(f"HTTP {response.status_code}")
        self.response = response


class RequestNotSent(Exception):
    """The login or the discovery before a call failed: its cause says how."""


class NoResponse(Exception):
    """A call has got no answer: its cause says why."""


class CredentialsRefused(errors.BackendUnavailable):
    """The cloud does not let vmapi in: for a client, one more way of being unavailable."""

    backend_unresponsive = False


@contextmanager
def translate_errors(service: str, *, is_change: bool) -> Iterator[None]:
    """Raise errors of the domain for what goes wrong inside; `changing` if a change is sent."""
    try:
        yield
    except ErrorResponse as refusal:
        raise error_for_response(refusal.response, service, is_change=is_change) from refusal
    except RequestNotSent as unsent:
        raise _error_for_not_sent(unsent.__cause__, service) from unsent.__cause__
    except NoResponse as lost:
        raise _error_for_no_response(
            lost.__cause__, service, is_change=is_change
        ) from lost.__cause__


@contextmanager
def wrapping_sdk_errors(error_class: type[RequestNotSent | NoResponse]) -> Iterator[None]:
    """Catch what the SDK raises before anything raises it again, and so changes its context."""
    try:
        yield
    except SDK_ERRORS as failure:
        raise error_class from failure


@contextmanager
def parsing(service: str) -> Iterator[None]:
    """Tell an answer of a wrong shape from a defect of ours. Raises BackendError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as wrong:
        detail = f"The cloud's {service} service answered in a form that vmapi cannot read."
        raise errors.BackendError(detail) from wrong


def is_transient(failure: Exception) -> bool:
    """Tell whether a read may be tried again at once: it failed fast, and not for good."""
    if isinstance(failure, ErrorResponse):
        answer = failure.response
        again = answer.status_code in (502, 503) and "Retry-After" not in answer.headers
        return again and answer.elapsed < MAX_RETRIED_ELAPSED
    causes = list(_causes(failure.__cause__))
    lasting = any(isinstance(cause, NOT_RETRIED_ERRORS) for cause in causes)
    return not lasting and any(isinstance(cause, requests.ConnectionError) for cause in causes)


def error_for_response(
    response: requests.Response, service: str, *, is_change: bool
) -> errors.VmapiError:
    """Return the error that an HTTP answer of 300 and more stands for."""
    status, the_service = response.status_code, f"The cloud's {service} service"
    if status == 401:
        return _credentials_refused()
    if status in (429, 503):
        said = f"{the_service} takes no calls at the moment (HTTP {status})."
        return errors.BackendUnavailable(said, retry_after=parse_retry_after(response))
    if status in (502, 504) and is_change:
        return errors.BackendTimeout(f"{the_service} lost the answer (HTTP {status}).")
    if status == 501:
        return errors.InvalidState("This cloud cannot do that.")
    if status < 500 and (known := sentences.error_for_message(status, _fault_message(response))):
        return known
    if status == 404 and "/servers/" in (response.url or ""):
        return errors.VMNotFound("The cloud has no VM of this id.")
    return errors.BackendError(f"{the_service} failed (HTTP {status}).")


def parse_retry_after(response: requests.Response) -> int:
    """Return the seconds that an answer asks to wait, between 1 and 300; 5 if it does not say."""
    text = response.headers.get("Retry-After", "").strip()
    try:
        seconds = float(text) if text.isdecimal() else _seconds_until(text)
    except (ValueError, OverflowError):
        return 5
    return round(max(1, min(seconds, MAX_RETRY_AFTER)))


def _seconds_until(http_date: str) -> float:
    return (parsedate_to_datetime(http_date).astimezone(UTC) - datetime.now(UTC)).total_seconds()


def _error_for_not_sent(cause: BaseException | None, service: str) -> errors.VmapiError:
    if isinstance(cause, Unauthorized):
        return _credentials_refused()
    if isinstance(cause, EndpointNotFound | ServiceDisabledException):
        return errors.BackendError(f"The cloud offers no {service} service to this project.")
    answer = getattr(cause, "response", None)
    wait = parse_retry_after(answer) if isinstance(answer, requests.Response) else 5
    said = f"The cloud's identity service or its {service} service cannot be reached."
    return errors.BackendUnavailable(said, retry_after=wait)


def _error_for_no_response(
    failure: BaseException | None, service: str, *, is_change: bool
) -> errors.VmapiError:
    causes, the_service = list(_causes(failure)), f"The cloud's {service} service"
    if any(isinstance(cause, NOT_SENT_ERRORS) for cause in causes):
        return errors.BackendUnavailable(f"{the_service} cannot be reached.")
    if any(isinstance(cause, TIMEOUT_ERRORS) for cause in causes):
        return errors.BackendTimeout(f"{the_service} did not answer in time.")
    if is_change:
        return errors.BackendTimeout(f"{the_service} broke the connection off.")
    if any(isinstance(cause, TRUNCATED_RESPONSE_ERRORS) for cause in causes):
        return errors.BackendError(f"{the_service} broke off in the middle of its answer.")
    return errors.BackendUnavailable(f"{the_service} broke the connection off.")


def _credentials_refused() -> CredentialsRefused:
    return CredentialsRefused("The cloud refuses vmapi's own credentials.", retry_after=60)


def _causes(failure: BaseException | None) -> Iterator[BaseException]:
    """Walk from a failure to those it wraps.

    The context is followed from keystoneauth's errors only, which wrap nothing: further on it may
    lead to an older failure, which somebody was handling when he called us.
    """
    if failure is None:
        return
    yield failure
    context = failure.__context__ if isinstance(failure, ClientException) else None
    for wrapped in (*failure.args, getattr(failure, "reason", None), context):
        if isinstance(wrapped, BaseException):
            yield from _causes(wrapped)


def _fault_message(response: requests.Response) -> str:
    """Return what Nova, Glance or Neutron says is wrong; empty where it says nothing."""
    try:
        body: Any = orjson.loads(response.content)
        (fault,) = body.values()
        return str(fault["message"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return ""
