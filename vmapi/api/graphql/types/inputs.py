"""The input types of the schema, and their check by the schemas of the REST API.

The schemas check the arguments in the REST spelling. So an argument has one meaning. A null is an
absent argument.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any

import strawberry
from marshmallow import Schema, ValidationError
from strawberry.scalars import JSON

from vmapi.api.graphql.types.enums import Action, EventKind, OperationStatus, Status
from vmapi.api.request.body import validation_error
from vmapi.errors import ValidationFailed


@strawberry.input(name="VMFilter", description="Filters of VMs; a VM must match all of them.")
class VMFilter:
    """Filters of VMs, as the query parameters of `GET /vms`."""

    status: list[Status] | None = None
    name: str | None = None
    flavor: str | None = None
    image: str | None = None
    created_after: str | None = None
    created_before: str | None = None
    updated_after: str | None = None
    selector: str | None = None


@strawberry.input(name="OperationFilter", description="Filters of operations.")
class OperationFilter:
    """Filters of operations, as the query parameters of `GET /operations`."""

    vm_id: strawberry.ID | None = None
    action: Action | None = None
    status: OperationStatus | None = None
    request_id: str | None = None
    idempotency_key: str | None = None


@strawberry.input(name="EventFilter", description="Filters of events, as in `GET /events`.")
class EventFilter:
    """Filters of events, as the query parameters of `GET /events`."""

    vm_id: list[strawberry.ID] | None = None
    kind: list[EventKind] | None = None
    selector: str | None = None


@strawberry.input(name="CreateVMInput", description="The parameters of a new VM.")
class CreateVMInput:
    """The parameters of a new VM, as the body of `POST /vms`."""

    name: str
    flavor: str
    image: str
    network: str | None = None
    start: bool | None = None
    metadata: JSON | None = None
    user_data: str | None = None
    ssh_keys: list[str] | None = None
    key_name: str | None = None
    security_groups: list[str] | None = None


@strawberry.input(
    name="UpdateVMInput",
    description="The members to change; a null in `metadata` removes its key (RFC 7396).",
)
class UpdateVMInput:
    """The members of a VM to change, as the body of `PATCH /vms/{id}`."""

    name: str | None = None
    metadata: JSON | None = None


def to_members(arguments: object | None) -> dict[str, Any]:
    """Return an input as a JSON object of the REST API."""
    values = vars(arguments).items() if arguments else ()
    return {name: _to_json(value) for name, value in values if value is not None}


def load_arguments(schema: Schema, members: Mapping[str, Any]) -> Any:
    """Return the values that a schema loads. Raises ValidationFailed."""
    try:
        return schema.load(members)
    except ValidationError as error:
        raise validation_error(error.messages_dict) from None


def argument_error(name: str, detail: str) -> ValidationFailed:
    """Return the error of an argument."""
    return ValidationFailed(f"Argument {name}: {detail}", (f"/{name}", detail))


def _to_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_to_json(item) for item in value]
    return value.value if isinstance(value, Enum) else value
