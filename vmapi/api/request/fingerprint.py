"""The fingerprint of a request: equal for all spellings of one request.

An idempotency key is bound to the meaning of its request: the endpoint, the VM, and the loaded body
with its defaults. White space, escapes, the order of members and of list items, repeated items and
the case of ids do not count. Source: draft-ietf-httpapi-idempotency-key-header-06, section 2.4.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime
from typing import Any

from flask import request

from vmapi.domain.timestamps import EPOCH, MICROSECOND
from vmapi.domain.uuids import parse_uuid
from vmapi.errors import VMNotFound
from vmapi.services.vms.service import canonical_id

REFERENCES = ("flavor", "image", "network")
"""Members that are a name or an id."""


def request_fingerprint(body: object) -> str:
    """Return the fingerprint of the current request, as `change_fingerprint` does."""
    return change_fingerprint(request.endpoint, (request.view_args or {}).get("vm_id"), body)


def change_fingerprint(endpoint: str | None, vm_id: str | None, body: object) -> str:
    """Return the fingerprint of a change by an endpoint.

    `body` is the loaded body. Every list of a body is a set: `ids`, `status`, `ssh_keys` and
    `security_groups`.
    """
    target = {"endpoint": endpoint, "vm_id": vm_id and canonical_vm_id(vm_id)}
    return hashlib.sha256(_canonical_json({**target, "body": body}).encode()).hexdigest()


def canonical_vm_id(vm_id: str) -> str:
    """Return the id of a VM as the cloud writes it; any other text in lower case."""
    try:
        return canonical_id(vm_id)
    except VMNotFound:
        return vm_id.lower()


def _canonical_json(value: object) -> str:
    return json.dumps(_canonical(value), sort_keys=True)


def _canonical(value: object) -> object:
    if is_dataclass(value):
        members = {field: getattr(value, field.name) for field in fields(value)}
        # a new optional member of the next version changes no fingerprint
        value = {
            field.name: _canonical_reference(member) if field.name in REFERENCES else member
            for field, member in members.items()
            if member != _default_of(field)
        }
    if isinstance(value, Mapping):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return sorted({_canonical_json(item) for item in value})
    if isinstance(value, datetime):
        return (value - EPOCH) // MICROSECOND
    return value


def _canonical_reference(text: object) -> object:
    """Return a name as it is, and an id in any spelling as the cloud writes it."""
    return (parse_uuid(text) or text) if isinstance(text, str) else text


def _default_of(field: Field[Any]) -> object:
    """Return the default of a field; MISSING without one."""
    return field.default if field.default_factory is MISSING else field.default_factory()
