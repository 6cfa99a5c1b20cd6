"""The base classes of errors with a problem document."""

from typing import TYPE_CHECKING, ClassVar

from vmapi_client.errors.base import VmapiError

if TYPE_CHECKING:
    from vmapi_client.models.problem import FieldError, Problem
    from vmapi_client.models.vm import VM


class ProblemError(VmapiError):
    """vmapi refused a request, or an operation failed. `problem` is the document.

    `retry_after` is the time in seconds after which a repeat is useful, if vmapi named one.
    `vm` is the VM of a failed create, if it exists.
    """

    expected_code: ClassVar[str] = ""
    """The problem code of the class; empty for a class of several codes."""

    def __init__(
        self,
        problem: "Problem",
        *,
        advice: str = "",
        retry_after: float | None = None,
        idempotency_key: str | None = None,
        vm: "VM | None" = None,
    ) -> None:
        self.problem = problem
        self.retry_after = retry_after
        self.vm = vm
        super().__init__(
            describe_problem(problem, advice),
            idempotency_key=idempotency_key,
            request_id=problem.request_id,
        )

    @property
    def code(self) -> str:
        """The stable code of the problem."""
        return self.problem.code

    @property
    def status(self) -> int:
        """The HTTP status of the problem."""
        return self.problem.status

    @property
    def detail(self) -> str:
        """The explanation for people."""
        return self.problem.detail

    @property
    def operation(self) -> str | None:
        """The URL path of the operation concerned."""
        return self.problem.operation

    @property
    def vm_id(self) -> str | None:
        """The id of the VM concerned."""
        return self.problem.vm_id

    @property
    def hint(self) -> str | None:
        """A suggestion for the next step, after the cloud has failed a change."""
        return self.problem.hint


class InvalidRequest(ProblemError):
    """The request is malformed, or names an unknown flavor, image or network (400 to 422)."""

    rejected_text: str | None = None
    """The text of the request that `offset` points into; None without an offset."""

    @property
    def errors(self) -> "tuple[FieldError, ...]":
        """The invalid places of the request."""
        return self.problem.errors

    @property
    def offset(self) -> int | None:
        """The number of characters before the invalid place of a selector; None without one."""
        return next((item.offset for item in self.errors if item.offset is not None), None)


class AccessRefused(ProblemError):
    """The caller is not authenticated, or may not do this (401, 403)."""


class NotFound(ProblemError):
    """The resource does not exist, or belongs to another project (404)."""


class Conflict(ProblemError):
    """The state of a resource does not allow the change (409, 412)."""


class StateRefused(Conflict):
    """The state of the VM does not allow the action."""

    @property
    def current_status(self) -> str | None:
        """The status of the VM."""
        return self.problem.current_status

    @property
    def task(self) -> str | None:
        """The task of the VM; None without one."""
        return self.problem.task

    @property
    def allowed_actions(self) -> tuple[str, ...]:
        """The actions that the state allows."""
        return self.problem.allowed_actions


class Unavailable(ProblemError):
    """A limit or a dependency of vmapi refuses requests for a time (429, 503)."""


class CloudFailed(ProblemError):
    """The cloud failed, or did not respond in time (502, 503, 504)."""


class ServerFailed(ProblemError):
    """vmapi failed (500)."""


def describe_problem(problem: "Problem", advice: str = "") -> str:
    """Return one line with the detail, the code, and the request id if there is one."""
    request = f", request {problem.request_id}" if problem.request_id else ""
    text = f"{problem.detail} ({problem.code}{request})"
    return f"{text} {advice}" if advice else text
