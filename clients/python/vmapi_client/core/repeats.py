"""Repeat requests exactly as the contract of vmapi allows, within one deadline.

The contract is the section "Safe repeats: Idempotency-Key" of the API reference.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from vmapi_client.core.deadline import Deadline, growing_pauses
from vmapi_client.core.exchange import Attempt, Failure, Plan, Reply, Request, Response
from vmapi_client.core.replies import (
    Server,
    advise_repeat,
    build_error,
    check_reply,
    error_without_response,
    find_failure,
    find_problem,
    name_key,
)
from vmapi_client.errors import DeadlineExceeded, VmapiError

ATTEMPT_TIMEOUT_SECONDS = 60.0
"""Seconds until an attempt counts as lost."""

WAIT_SECONDS = 30
"""Seconds for which vmapi delays a response until a change is settled (`Prefer: wait`)."""

LEAST_TIMEOUT_SECONDS = 0.1
LEAST_PAUSE_SECONDS = 0.1

IN_PROGRESS = "the change is in progress"
"""The reason to repeat a change that vmapi has accepted."""

REPEATED_READ_STATUSES = (429, 502, 503, 504)
UNKNOWN_OUTCOME_STATUSES = (502, 503, 504)

IsFinal = Callable[[Response], bool]


def read(
    request: Request, deadline: Deadline, server: Server, delay: float = 0.0
) -> Plan[Response]:
    """Repeat a read until it succeeds or is refused. It begins after a delay."""

    def is_final(response: Response) -> bool:
        return is_final_read(response) or response.status in request.failure_statuses

    return _repeat(request, deadline, server, is_final, delay=delay)


def read_waiting(
    request: Request, deadline: Deadline, server: Server, delay: float = 0.0
) -> Plan[Response]:
    """Repeat a read that vmapi delays until an operation is finished."""
    return _repeat(request, deadline, server, is_final_read, waits=True, delay=delay)


def change(
    request: Request, key: str, deadline: Deadline, server: Server, *, wait: bool
) -> Plan[Response]:
    """Repeat a change under its idempotency key until its outcome is final.

    With `wait`, a change in progress is not final.
    """
    headers = {**request.headers, "Idempotency-Key": key}
    is_final = is_settled_change if wait else is_final_change
    return _repeat(
        replace(request, headers=headers), deadline, server, is_final, waits=wait, key=key
    )


def is_final_read(response: Response) -> bool:
    """Return whether a repeat of a read would change nothing."""
    return response.status not in REPEATED_READ_STATUSES


def is_final_change(response: Response) -> bool:
    """Return whether a response is the final outcome of a change, or its acceptance."""
    return response.status == 202 or is_settled_change(response)


def is_settled_change(response: Response) -> bool:
    """Return whether a response is the final outcome of a change."""
    if response.status == 202 or response.retry_after is not None:
        return False
    return response.status not in UNKNOWN_OUTCOME_STATUSES or response.is_replayed


def _repeat(
    request: Request,
    deadline: Deadline,
    server: Server,
    is_final: IsFinal,
    *,
    waits: bool = False,
    key: str | None = None,
    delay: float = 0.0,
) -> Plan[Response]:
    pauses, reason = growing_pauses(), ""
    while True:
        prepared = _prefer_wait(request, deadline.remaining - delay) if waits else request
        timeout = min(ATTEMPT_TIMEOUT_SECONDS, deadline.remaining - delay)
        reply = yield Attempt(prepared, max(timeout, LEAST_TIMEOUT_SECONDS), delay, reason)
        with _named_key(key, is_sent=_may_be_sent(reply) or bool(reason)):
            check_reply(request, reply, server)
        failure = find_failure(request, reply)
        if failure is None and isinstance(reply, Response) and is_final(reply):
            if find_problem(reply) is not None:
                raise build_error(request, reply, server, key)
            return reply if key is None else replace(reply, idempotency_key=key)
        delay = _pause_after(reply, next(pauses))
        reason = failure or _describe_pause(reply)
        if delay >= deadline.remaining:
            raise _end_error(request, reply, deadline, server, key)


@contextmanager
def _named_key(key: str | None, *, is_sent: bool) -> Iterator[None]:
    try:
        yield
    except VmapiError as error:
        error.idempotency_key = key
        if is_sent:
            name_key(error, key)
        raise


def _may_be_sent(reply: Reply) -> bool:
    """Return whether a first attempt may have arrived: one that cannot connect has not."""
    return isinstance(reply, Response) or reply.kind == "too large"


def _prefer_wait(request: Request, remaining: float) -> Request:
    seconds = min(WAIT_SECONDS, int(remaining) - 1)
    if seconds < 1:
        return request
    return replace(request, headers={**request.headers, "Prefer": f"wait={seconds}"})


def _pause_after(reply: Reply, pause: float) -> float:
    retry_after = None if isinstance(reply, Failure) else reply.retry_after
    return pause if retry_after is None else max(retry_after, LEAST_PAUSE_SECONDS)


def _describe_pause(reply: Reply) -> str:
    assert isinstance(reply, Response)
    problem = find_problem(reply)
    return IN_PROGRESS if problem is None else problem.detail


def _end_error(
    request: Request, reply: Reply, deadline: Deadline, server: Server, key: str | None
) -> VmapiError:
    """Return the error at the deadline, made from the last reply."""
    failure = find_failure(request, reply)
    repeat = "" if key is None else f" {advise_repeat(key)}"
    within = f"within {deadline.seconds:g} s"
    request_id = request.headers.get("X-Request-ID")
    if failure is not None:
        message = (
            f"{request}: no response of vmapi {within}: {failure}. Check the URL {server.url} "
            f"from {server.url_origin}, and that vmapi runs.{repeat}"
        )
        error = error_without_response(reply)
        return error(message, idempotency_key=key, request_id=request_id)
    assert isinstance(reply, Response)
    if find_problem(reply) is not None:
        return build_error(request, reply, server, key, advice=repeat.strip())
    message = f"{request} has not finished {within}.{repeat}"
    return DeadlineExceeded(message, idempotency_key=key, request_id=request_id)
