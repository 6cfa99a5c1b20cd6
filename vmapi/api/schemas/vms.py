"""Schemas of VMs in requests and responses."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates

from vmapi.api.problems.schema import ALLOWED_ACTIONS_DESCRIPTION
from vmapi.api.request.context import current_services
from vmapi.api.schemas.fields import (
    BodySchema,
    BoundedList,
    FullMatch,
    MetadataField,
    NameFilter,
    NulFreeString,
    QueryInteger,
    RFC3339Field,
    SelectorField,
    StrictBoolean,
    described,
)
from vmapi.api.schemas.pagination import PageQuerySchema, PageSchema
from vmapi.api.schemas.ssh_keys import SSHKeyField
from vmapi.domain.lifecycle import VM_ACTIONS, Status, Task
from vmapi.domain.pagination import PageRequest
from vmapi.domain.vm import CreateRequest, VMPatch, VMQuery

VM_NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{2,62}$"
INVALID_NAME_DETAIL = (
    "Must have 3 to 63 characters of A-Z a-z 0-9 . _ - and begin with a letter or a digit."
)
MAX_USER_DATA_BYTES = 65_536
MAX_CREATE_LIST_ITEMS = 64
"""The items of `ssh_keys` and of `security_groups`."""

MAX_STATUS_FILTERS = 64
SORT_VALUES = [sign + key for key in ("created_at", "name", "updated_at") for sign in ("", "-")]


class AddressSchema(Schema):
    """One IP address of a VM."""

    network = fields.String(required=True, **described("Name of the network."))
    ip = fields.String(required=True, **described("The IPv4 or IPv6 address."))
    version = fields.Integer(
        required=True,
        validate=validate.OneOf([4, 6]),
        **described("IP version.", enum_name="IPVersion"),
    )
    type = fields.String(
        required=True,
        validate=validate.OneOf(["fixed", "floating"]),
        **described(
            "`fixed` belongs to the VM; `floating` is mapped to it.", enum_name="AddressType"
        ),
    )


class FaultSchema(Schema):
    """The cause of status ERROR, and a suggestion."""

    code = fields.String(required=True, **described("Code of the matching problem."))
    message = fields.String(required=True, **described("Message of the cloud."))
    hint = fields.String(required=True, **described("Suggested next step."))


class VMSchema(Schema):
    """A virtual machine."""

    id = fields.UUID(required=True, **described("Id that the cloud assigned."))
    name = fields.String(required=True, **described("Name, unique in the project."))
    flavor = fields.String(required=True, **described("Name of the flavor."))
    image = fields.String(
        required=True,
        allow_none=True,
        **described("Name of the image; null if the VM boots from a volume."),
    )
    status = fields.Enum(
        Status, required=True, **described("Status of the VM.", enum_name="VMStatus")
    )
    task = fields.Enum(
        Task,
        by_value=True,
        required=True,
        allow_none=True,
        **described("Work in progress; null if the VM is settled.", enum_name="VMTask"),
    )
    allowed_actions = fields.List(
        fields.String(validate=validate.OneOf(VM_ACTIONS), metadata={"enum_name": "VMAction"}),
        required=True,
        **described(ALLOWED_ACTIONS_DESCRIPTION),
    )
    ip_address = fields.String(
        required=True,
        allow_none=True,
        **described(
            "Floating IPv4, otherwise fixed IPv4, otherwise IPv6 address; null without one."
        ),
    )
    addresses = fields.List(
        fields.Nested(AddressSchema), required=True, **described("All IP addresses.")
    )
    metadata = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        **described("Key-value pairs of the client."),
    )
    key_name = fields.String(
        required=True, allow_none=True, **described("Name of the key pair; null without one.")
    )
    security_groups = fields.List(
        fields.String(), required=True, **described("Names of the security groups.")
    )
    locked = fields.Boolean(required=True, **described("Whether the cloud refuses changes."))
    fault = fields.Nested(
        FaultSchema,
        required=True,
        allow_none=True,
        **described("Cause of status ERROR; null without one."),
    )
    backend_status = fields.String(required=True, **described("Status in the cloud's own terms."))
    created_at = fields.AwareDateTime(required=True, **described("Time of creation."))
    updated_at = fields.AwareDateTime(required=True, **described("Time of the last change."))


class CreateVMSchema(BodySchema):
    """The parameters of a new VM."""

    name = fields.String(
        required=True,
        validate=FullMatch(VM_NAME_PATTERN, error=INVALID_NAME_DETAIL),
        **described("Name, unique in the project."),
    )
    flavor = NulFreeString(
        required=True, validate=validate.Length(1, 255), **described("Name or id of a flavor.")
    )
    image = NulFreeString(
        required=True,
        validate=validate.Length(1, 255),
        **described("Name or id of an active image."),
    )
    network = NulFreeString(
        validate=validate.Length(1, 255),
        **described("Name or id of a network; required if the project has several."),
    )
    start = StrictBoolean(**described("Whether the VM ends RUNNING; by default it ends STOPPED."))
    metadata = MetadataField(**described("Key-value pairs, at most 127."))
    user_data = NulFreeString(
        validate=validate.Length(max=MAX_USER_DATA_BYTES),
        **described("Data for cloud-init, at most 64 KiB. Responses never contain it."),
    )
    ssh_keys = BoundedList(
        SSHKeyField(),
        max_length=MAX_CREATE_LIST_ITEMS,
        **described("OpenSSH public keys that cloud-init authorizes for login."),
    )
    key_name = NulFreeString(
        validate=validate.Length(1, 255), **described("Name of a key pair in the cloud.")
    )
    security_groups = BoundedList(
        NulFreeString(validate=validate.Length(1, 255)),
        max_length=MAX_CREATE_LIST_ITEMS,
        **described("Names of security groups; by default the project's default group."),
    )

    @validates("user_data")
    def _check_user_data_size(self, value: str, **_: Any) -> None:
        if len(value.encode()) > MAX_USER_DATA_BYTES:
            raise ValidationError("Must be at most 64 KiB in UTF-8.")

    @post_load
    def _build_request(self, data: dict[str, Any], **_: Any) -> CreateRequest:
        for name in ("ssh_keys", "security_groups"):
            data[name] = tuple(dict.fromkeys(data.get(name, ())))
        data["user_data"] = data.get("user_data") or None
        return CreateRequest(**data)


class UpdateVMSchema(BodySchema):
    """A JSON merge patch of a VM (RFC 7396)."""

    name = fields.String(
        validate=FullMatch(VM_NAME_PATTERN, error=INVALID_NAME_DETAIL),
        **described("New name, unique in the project."),
    )
    metadata = MetadataField(
        patch=True, **described("Pairs to set; null removes a pair. At most 127 keys.")
    )

    @post_load
    def _build_patch(self, data: dict[str, Any], **_: Any) -> VMPatch:
        return VMPatch(**data)


class RestartSchema(BodySchema):
    """The options of a restart."""

    type = fields.String(
        validate=validate.OneOf(["soft", "hard"]),
        **described(
            "`soft` reboots the guest, `hard` resets it. Default: soft; hard on ERROR.",
            enum_name="RestartType",
        ),
    )


class VMStateSchema(Schema):
    """The status and the task of a VM, for polling."""

    vm_id = fields.UUID(required=True, **described("Id of the VM."))
    status = fields.Enum(
        Status, required=True, **described("Status of the VM.", enum_name="VMStatus")
    )
    task = fields.Enum(
        Task,
        by_value=True,
        required=True,
        allow_none=True,
        **described("Work in progress; null if the VM is settled.", enum_name="VMTask"),
    )
    updated_at = fields.AwareDateTime(required=True, **described("Time of the last change."))


class ConsoleSchema(Schema):
    """The console output of a VM."""

    output = fields.String(required=True, **described("Text that the VM wrote to its console."))


class ConsoleQuerySchema(Schema):
    """The length of the console output."""

    lines = QueryInteger(
        minimum=1,
        maximum=10_000,
        **described("Number of last lines to return; by default all."),
    )


class VMFilterSchema(BodySchema):
    """Filters of VMs; a VM must match all of them."""

    status = BoundedList(
        fields.Enum(Status, metadata={"enum_name": "VMStatus"}),
        min_length=1,
        max_length=MAX_STATUS_FILTERS,
        **described("Status; repeat the parameter for several."),
    )
    name = NameFilter(prefix=True, **described("Exact name, or a prefix that ends in `*`."))
    flavor = NameFilter(**described("Exact name of the flavor."))
    image = NameFilter(**described("Exact name of the image."))
    created_after = RFC3339Field(**described("VMs created after this time."))
    created_before = RFC3339Field(**described("VMs created before this time."))
    updated_after = RFC3339Field(**described("VMs changed after this time."))

    selector = SelectorField(
        **described("Conditions on the metadata, as Kubernetes' label selectors: `env=prod,!old`.")
    )

    def build_query(self, data: dict[str, Any]) -> VMQuery:
        """Build the query from the loaded data."""
        return VMQuery(statuses=frozenset(data.pop("status", ())), **data)


class VMQuerySchema(VMFilterSchema, PageQuerySchema):
    """Filters, order and pagination of a list of VMs."""

    loads_immutable = True

    sort = fields.String(
        load_default="-created_at",
        validate=validate.OneOf(SORT_VALUES),
        **described(
            "Sort key; a leading `-` means descending. Without it, `-created_at`.",
            enum_name="VMSortKey",
        ),
    )

    def are_current(self, values: tuple[VMQuery, PageRequest]) -> bool:
        """Return whether loaded values hold still: their cursor has not expired."""
        expires_at = values[1].expires_at
        return expires_at is None or not current_services().cursors.has_expired(expires_at)

    @post_load
    def _build_list_query(self, data: dict[str, Any], **_: Any) -> tuple[VMQuery, PageRequest]:
        page_request = self.pop_page_request(data)
        return self.build_query(data), page_request


class VMListSchema(PageSchema):
    """One page of VMs."""

    items = fields.List(fields.Nested(VMSchema), required=True, **described("The VMs."))
