"""A request that is served without waiting, and again if it would wait."""

from contextvars import ContextVar

import pytest

from vmapi.concurrency import bulkhead
from vmapi.concurrency.bulkhead import Bulkhead
from vmapi.concurrency.nonblocking import (
    RepeatableRequest,
    WouldBlock,
    raise_if_nonblocking,
    run_once,
)

variable: ContextVar[str] = ContextVar("variable", default="unset")


def test_wait_is_refused_in_the_first_run_only() -> None:
    request = RepeatableRequest()
    with pytest.raises(WouldBlock):
        request.serve_without_waiting(raise_if_nonblocking)
    request.serve_again(raise_if_nonblocking)


def test_thread_without_a_repeatable_request_may_wait() -> None:
    raise_if_nonblocking()


def test_call_to_a_dependency_counts_as_a_wait() -> None:
    dependency = Bulkhead(1, AssertionError)

    def serve() -> str:
        bulkhead.begin_request()
        with dependency.occupying():
            return "served"

    request = RepeatableRequest()
    with pytest.raises(WouldBlock):
        request.serve_without_waiting(serve)
    assert request.serve_again(serve) == "served"


def test_second_run_reuses_the_result_of_a_step_that_runs_once() -> None:
    numbers = iter(range(9))

    def serve() -> tuple[int, int]:
        counts = run_once("first", lambda: next(numbers)), run_once("second", lambda: next(numbers))
        raise_if_nonblocking()
        return counts

    request = RepeatableRequest()
    with pytest.raises(WouldBlock):
        request.serve_without_waiting(serve)
    assert request.serve_again(serve) == (0, 1)
    assert RepeatableRequest().serve_again(serve) == (2, 3)


def test_would_block_is_no_exception_that_an_error_handler_catches() -> None:
    assert not issubclass(WouldBlock, Exception)


def test_context_variables_of_a_request_end_with_it() -> None:
    RepeatableRequest().serve_without_waiting(lambda: variable.set("of the request"))
    assert variable.get() == "unset"
