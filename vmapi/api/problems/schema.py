"""The schema of a problem document: RFC 9457 with the members that vmapi adds."""

from marshmallow import Schema, fields, validate

from vmapi.api.problems.types import PROBLEM_TYPES
from vmapi.api.request.body import MAX_FIELD_ERRORS
from vmapi.domain.access.roles import Role
from vmapi.domain.lifecycle import VM_ACTIONS, Status, Task

ALLOWED_ACTIONS_DESCRIPTION = (
    "Actions that the current state allows. The list omits PATCH; STOPPED, RUNNING and PAUSED "
    "allow it."
)


class FieldErrorSchema(Schema):
    """One invalid place of a request."""

    pointer = fields.String(
        required=True,
        metadata={
            "description": "JSON pointer (RFC 6901) into the body or the query parameters. "
            "`/status/1` is the second `status`."
        },
    )
    message = fields.String(
        required=True, metadata={"description": "The reason why the value is invalid."}
    )
    offset = fields.Integer(
        metadata={"description": "Characters of the value before the place of an invalid selector."}
    )


class ProblemSchema(Schema):
    """A problem document: the reason why a request failed."""

    type = fields.String(
        required=True, metadata={"description": "URL path of the explanation of this problem."}
    )
    title = fields.String(
        required=True, metadata={"description": "Summary for people; the wording may change."}
    )
    status = fields.Integer(
        required=True, metadata={"description": "HTTP status code of the response."}
    )
    code = fields.String(
        required=True, metadata={"description": "Stable identifier. Clients branch on it."}
    )
    detail = fields.String(
        required=True, metadata={"description": "Explanation of this occurrence, for people."}
    )
    instance = fields.String(metadata={"description": "URL path of the failed request."})
    request_id = fields.String(
        metadata={"description": "Id of the request in the log of vmapi, as in `X-Request-ID`."}
    )
    errors = fields.List(
        fields.Nested(FieldErrorSchema),
        metadata={
            "description": f"Up to {MAX_FIELD_ERRORS} invalid places, with `offset` in a selector."
        },
    )
    current_status = fields.Enum(
        Status, metadata={"description": "Current status of the VM.", "enum_name": "VMStatus"}
    )
    task = fields.Enum(
        Task,
        by_value=True,
        allow_none=True,
        metadata={
            "description": "Current task of the VM; null if it has none.",
            "enum_name": "VMTask",
        },
    )
    allowed_actions = fields.List(
        fields.String(validate=validate.OneOf(VM_ACTIONS), metadata={"enum_name": "VMAction"}),
        metadata={"description": ALLOWED_ACTIONS_DESCRIPTION},
    )
    vm_id = fields.String(allow_none=True, metadata={"description": "Id of the VM concerned."})
    operation = fields.String(metadata={"description": "URL path of the operation concerned."})
    role_needed = fields.Enum(
        Role,
        by_value=True,
        metadata={"description": "Lowest role with the permission.", "enum_name": "Role"},
    )
    etag = fields.String(metadata={"description": "Current entity tag of the VM, for `If-Match`."})
    hint = fields.String(metadata={"description": "A suggestion for the next step."})


def problem_example(code: str) -> dict[str, object]:
    """Return an example of a problem with this code."""
    problem_type = PROBLEM_TYPES[code]
    return {
        "type": f"/problems/{code}",
        "title": problem_type.title,
        "status": problem_type.status,
        "code": code,
        "detail": problem_type.advice,
        "instance": "/api/v1/vms",
        "request_id": "req-6b0c6a6e-0b0e-4c55-9f0e-0c8f3c3f3a11",
    }
