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

FAILURES = (ClientException, SDKException, requests.RequestException, TimeoutError)
"""What the SDK raises when there is no answer."""

NOT_SENT = (
    requests.ConnectTimeout,
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ProxyError,
    ssl.SSLCertVerificationError,
)
TOO_SLOW = (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError)
CUT_SHORT = (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError)
LASTING = (*TOO_SLOW, *CUT_SHORT, requests.ConnectTimeout, requests.exceptions.SSLError)
"""What a second try would only wait for, or meet again."""

FAST = timedelta(seconds=1)
LONGEST_WAIT = 300


class Refusal(Exception):
    """An answer that is no success."""

    def __init__(self, answer: requests.Response) -> None:
        super().__init__(f"HTTP {answer.status_code}")
        self.answer = answer


class Unsent(Exception):
    """The login or the discovery before a call failed: its cause says how."""


class Unanswered(Exception):
    """A call has got no answer: its cause says why."""


class CredentialsRefused(errors.BackendUnavailable):
    """The cloud does not let vmapi in: for a client, one more way of being unavailable."""

    away = False


@contextmanager
def translated(service: str, *, changing: bool) -> Iterator[None]:
    """Raise errors of the domain for what goes wrong inside; `changing` if a change is sent."""
    try:
        yield
    except Refusal as refusal:
        raise of_answer(refusal.answer, service, changing=changing) from refusal
    except Unsent as unsent:
        raise _of_unsent(unsent.__cause__, service) from unsent.__cause__
    except Unanswered as lost:
        raise _of_failure(lost.__cause__, service, changing=changing) from lost.__cause__


@contextmanager
def sdk_raises(told_as: type[Unsent | Unanswered]) -> Iterator[None]:
    """Catch what the SDK raises before anything raises it again, and so changes its context."""
    try:
        yield
    except FAILURES as failure:
        raise told_as from failure


@contextmanager
def readable(service: str) -> Iterator[None]:
    """Tell an answer of a wrong shape from a defect of ours. Raises BackendError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as wrong:
        detail = f"The cloud's {service} service answered in a form that vmapi cannot read."
        raise errors.BackendError(detail) from wrong


def passing(failure: Exception) -> bool:
    """Tell whether a read may be tried again at once: it failed fast, and not for good."""
    if isinstance(failure, Refusal):
        answer = failure.answer
        again = answer.status_code in (502, 503) and "Retry-After" not in answer.headers
        return again and answer.elapsed < FAST
    causes = list(_causes(failure.__cause__))
    lasting = any(isinstance(cause, LASTING) for cause in causes)
    return not lasting and any(isinstance(cause, requests.ConnectionError) for cause in causes)


def of_answer(answer: requests.Response, service: str, *, changing: bool) -> errors.VmapiError:
    """Return the error that an HTTP answer of 300 and more stands for."""
    status, the_service = answer.status_code, f"The cloud's {service} service"
    if status == 401:
        return _credentials_refused()
    if status in (429, 503):
        said = f"{the_service} takes no calls at the moment (HTTP {status})."
        return errors.BackendUnavailable(said, retry_after=retry_after(answer))
    if status in (502, 504) and changing:
        return errors.BackendTimeout(f"{the_service} lost the answer (HTTP {status}).")
    if status == 501:
        return errors.InvalidState("This cloud cannot do that.")
    if status < 500 and (known := sentences.meaning(status, _sentence(answer))):
        return known
    if status == 404 and "/servers/" in (answer.url or ""):
        return errors.VMNotFound("The cloud has no VM of this id.")
    return errors.BackendError(f"{the_service} failed (HTTP {status}).")


def retry_after(answer: requests.Response) -> int:
    """Return the seconds that an answer asks to wait, between 1 and 300; 5 if it does not say."""
    text = answer.headers.get("Retry-After", "").strip()
    try:
        seconds = float(text) if text.isdecimal() else _seconds_until(text)
    except (ValueError, OverflowError):
        return 5
    return round(max(1, min(seconds, LONGEST_WAIT)))


def _seconds_until(http_date: str) -> float:
    return (parsedate_to_datetime(http_date).astimezone(UTC) - datetime.now(UTC)).total_seconds()


def _of_unsent(cause: BaseException | None, service: str) -> errors.VmapiError:
    if isinstance(cause, Unauthorized):
        return _credentials_refused()
    if isinstance(cause, EndpointNotFound | ServiceDisabledException):
        return errors.BackendError(f"The cloud offers no {service} service to this project.")
    answer = getattr(cause, "response", None)
    wait = retry_after(answer) if isinstance(answer, requests.Response) else 5
    said = f"The cloud's identity service or its {service} service cannot be reached."
    return errors.BackendUnavailable(said, retry_after=wait)


def _of_failure(
    failure: BaseException | None, service: str, *, changing: bool
) -> errors.VmapiError:
    causes, the_service = list(_causes(failure)), f"The cloud's {service} service"
    if any(isinstance(cause, NOT_SENT) for cause in causes):
        return errors.BackendUnavailable(f"{the_service} cannot be reached.")
    if any(isinstance(cause, TOO_SLOW) for cause in causes):
        return errors.BackendTimeout(f"{the_service} did not answer in time.")
    if changing:
        return errors.BackendTimeout(f"{the_service} broke the connection off.")
    if any(isinstance(cause, CUT_SHORT) for cause in causes):
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


def _sentence(answer: requests.Response) -> str:
    """Return what Nova, Glance or Neutron says is wrong; empty where it says nothing."""
    try:
        body: Any = orjson.loads(answer.content)
        (fault,) = body.values()
        return str(fault["message"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return ""
