"""The VM in requests and answers."""

from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, post_load, validate, validates

from vmapi.api.schemas.fields import (
    FullMatch,
    MetadataField,
    NulFreeString,
    QueryInteger,
    RFC3339Field,
    StrictBoolean,
)
from vmapi.api.schemas.pagination import PageQuerySchema, PageSchema
from vmapi.domain.lifecycle import Action, Status, Task
from vmapi.domain.pagination import PageRequest
from vmapi.domain.vm import CreateRequest, VMPatch, VMQuery

VM_NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{2,62}$"
SSH_KEY_PATTERN = (
    "^(ssh-(rsa|ed25519)|ecdsa-sha2-nistp(256|384|521)"
    r"|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) [A-Za-z0-9+/]{40,8000}={0,3}"
    "( [ -~]{1,255})?$"
)
INVALID_NAME_DETAIL = "Must be 3 to 63 of A-Z a-z 0-9 . _ - and begin with a letter or digit."
MAX_USER_DATA_BYTES = 65_536
SORT_VALUES = [sign + key for key in ("created_at", "name", "updated_at") for sign in ("", "-")]


class AddressSchema(Schema):
    """One address of a VM."""

    network = fields.String(required=True)
    ip = fields.String(required=True)
    version = fields.Integer(required=True, validate=validate.OneOf([4, 6]))
    type = fields.String(required=True, validate=validate.OneOf(["fixed", "floating"]))


class FaultSchema(Schema):
    """Why a VM is in ERROR, and what to do."""

    code = fields.String(required=True)
    message = fields.String(required=True)
    hint = fields.String(required=True)


class VMSchema(Schema):
    """A virtual machine as it is now."""

    id = fields.UUID(required=True)
    name = fields.String(required=True)
    flavor = fields.String(required=True)
    image = fields.String(
        required=True, allow_none=True, metadata={"description": "null when booted from a volume"}
    )
    status = fields.Enum(Status, required=True)
    task = fields.Enum(Task, by_value=True, required=True, allow_none=True)
    allowed_actions = fields.List(fields.Enum(Action, by_value=True), required=True)
    ip_address = fields.String(required=True, allow_none=True)
    addresses = fields.List(fields.Nested(AddressSchema), required=True)
    metadata = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    key_name = fields.String(required=True, allow_none=True)
    security_groups = fields.List(fields.String(), required=True)
    locked = fields.Boolean(required=True)
    fault = fields.Nested(FaultSchema, required=True, allow_none=True)
    backend_status = fields.String(required=True, metadata={"description": "the cloud's own word"})
    created_at = fields.AwareDateTime(required=True)
    updated_at = fields.AwareDateTime(required=True)


class CreateVMSchema(Schema):
    """What a VM is made of."""

    class Meta:
        unknown = RAISE

    name = fields.String(
        required=True, validate=FullMatch(VM_NAME_PATTERN, error=INVALID_NAME_DETAIL)
    )
    flavor = NulFreeString(required=True, validate=validate.Length(1, 255))
    image = NulFreeString(
        required=True, validate=validate.Length(1, 255), metadata={"description": "name or id"}
    )
    network = NulFreeString(
        validate=validate.Length(1, 255), metadata={"description": "name or id"}
    )
    start = StrictBoolean(metadata={"description": "leave it RUNNING rather than STOPPED"})
    metadata = MetadataField()
    user_data = NulFreeString(
        validate=validate.Length(max=MAX_USER_DATA_BYTES),
        metadata={"description": "given to cloud-init, never returned; at most 64 KiB"},
    )
    ssh_keys = fields.List(
        fields.String(
            validate=FullMatch(SSH_KEY_PATTERN, error="Must be an OpenSSH public key, one line.")
        ),
        validate=validate.Length(max=64),
        metadata={"description": "public keys that may log in"},
    )
    key_name = NulFreeString(validate=validate.Length(1, 255))
    security_groups = fields.List(
        NulFreeString(validate=validate.Length(1, 255)), validate=validate.Length(max=64)
    )

    @validates("user_data")
    def _check_user_data_size(self, value: str, **_: Any) -> None:
        if len(value.encode()) > MAX_USER_DATA_BYTES:
            raise ValidationError("Longer than 64 KiB in UTF-8.")

    @post_load
    def _build_request(self, data: dict[str, Any], **_: Any) -> CreateRequest:
        for name in ("ssh_keys", "security_groups"):
            data[name] = tuple(dict.fromkeys(data.get(name, ())))
        return CreateRequest(**data)


class UpdateVMSchema(Schema):
    """What of a VM can be changed (RFC 7396)."""

    class Meta:
        unknown = RAISE

    name = fields.String(validate=FullMatch(VM_NAME_PATTERN, error=INVALID_NAME_DETAIL))
    metadata = MetadataField(patch=True)

    @post_load
    def _build_patch(self, data: dict[str, Any], **_: Any) -> VMPatch:
        return VMPatch(**data)


class RestartSchema(Schema):
    """How to restart."""

    class Meta:
        unknown = RAISE

    type = fields.String(
        validate=validate.OneOf(["soft", "hard"]),
        metadata={"description": "soft when omitted; hard on ERROR"},
    )


class VMStatusSchema(Schema):
    """The cheap one to poll."""

    vm_id = fields.UUID(required=True)
    status = fields.Enum(Status, required=True)
    task = fields.Enum(Task, by_value=True, required=True, allow_none=True)
    updated_at = fields.AwareDateTime(required=True)


class ConsoleSchema(Schema):
    """What a VM printed while booting."""

    output = fields.String(required=True)


class ConsoleQuerySchema(Schema):
    """How much of it."""

    lines = QueryInteger(
        validate=validate.Range(1, 10_000), metadata={"description": "the last N lines; else all"}
    )


class VMFilterSchema(Schema):
    """Which VMs."""

    class Meta:
        unknown = RAISE

    status = fields.List(
        fields.Enum(Status), validate=validate.Length(1), metadata={"description": "repeatable"}
    )
    name = NulFreeString(
        validate=validate.Length(1, 255),
        metadata={"description": "exact, or a prefix that ends in *"},
    )
    flavor = NulFreeString(validate=validate.Length(1, 255))
    image = NulFreeString(validate=validate.Length(1, 255))
    created_after = RFC3339Field()
    created_before = RFC3339Field()
    updated_after = RFC3339Field()

    def build_query(self, data: dict[str, Any]) -> VMQuery:
        """Make the query of what was loaded."""
        return VMQuery(statuses=frozenset(data.pop("status", ())), **data)


class VMQuerySchema(VMFilterSchema, PageQuerySchema):
    """Which VMs, in which order."""

    sort = fields.String(load_default="-created_at", validate=validate.OneOf(SORT_VALUES))

    @post_load
    def _build_list_query(self, data: dict[str, Any], **_: Any) -> tuple[VMQuery, PageRequest]:
        paging = self.pop_page_request(data)
        return self.build_query(data), paging


class VMListSchema(PageSchema):
    """A page of VMs."""

    items = fields.List(fields.Nested(VMSchema), required=True)
