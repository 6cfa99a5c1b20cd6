"""The problem as a schema: RFC 9457 with the members that vmapi adds."""

from marshmallow import Schema, fields

from vmapi.api.problems.types import PROBLEM_TYPES
from vmapi.domain.lifecycle import Status, Task
from vmapi.domain.roles import Role


class FieldErrorSchema(Schema):
    """One place that is wrong."""

    pointer = fields.String(required=True, metadata={"description": "RFC 6901, into the body."})
    message = fields.String(required=True)


class ProblemSchema(Schema):
    """Why a request failed, and what a client can do about it."""

    type = fields.String(required=True, metadata={"description": "Where it is explained."})
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    code = fields.String(required=True, metadata={"description": "Stable: branch on this."})
    detail = fields.String(required=True)
    instance = fields.String()
    request_id = fields.String(metadata={"description": "Finds the request in vmapi's log."})
    errors = fields.List(fields.Nested(FieldErrorSchema))
    current_status = fields.Enum(Status)
    task = fields.Enum(Task, by_value=True, allow_none=True)
    allowed_actions = fields.List(fields.String())
    vm_id = fields.String(allow_none=True)
    operation = fields.String(metadata={"description": "The path of an operation."})
    role_needed = fields.Enum(Role, by_value=True, metadata={"description": "The least that may."})
    etag = fields.String(metadata={"description": "The VM's tag, to send in If-Match."})
    hint = fields.String()


def problem_example(code: str) -> dict[str, object]:
    """Return a problem of this code as a client may meet it."""
    kind = PROBLEM_TYPES[code]
    return {
        "type": f"/problems/{code}",
        "title": kind.title,
        "status": kind.status,
        "code": code,
        "detail": kind.advice,
        "instance": "/api/v1/vms",
        "request_id": "req-6b0c6a6e-0b0e-4c55-9f0e-0c8f3c3f3a11",
    }
