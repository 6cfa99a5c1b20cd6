"""The dataclasses of the Python client, held to the OpenAPI document."""

import dataclasses
import typing
from datetime import UTC, datetime
from types import UnionType
from typing import Any

import pytest

from tests.support.client_plans import VM_DOCUMENT
from vmapi_client import models
from vmapi_client.models.model import Model, members_of

SCHEMAS = {
    "BulkPart": ("BulkPartAccepted", "BulkPartRefused"),
    "BulkItem": ("BulkAccepted", "BulkRefused"),
    "BulkResult": ("BulkResponse",),
}
"""Schemas of the dataclasses that do not have the name of their schema."""

WORDS = {
    "Status": "VMStatus",
    "Action": "VMAction",
    "RestartType": "RestartType",
    "SortKey": "VMSortKey",
    "OperationStatus": "OperationStatus",
    "OperationAction": "OperationAction",
    "EventKind": "EventKindFilter",
    "AuditOutcome": "AuditOutcome",
}
CLASSES = [
    item
    for item in vars(models).values()
    if isinstance(item, type) and issubclass(item, Model) and item is not Model
]
JSON_TYPES = {str: "string", int: "integer", bool: "boolean", datetime: "string"}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_dataclass_has_the_members_of_its_schema(document: Any, cls: type[Model]) -> None:
    schemas = [document["components"]["schemas"][name] for name in schema_names(cls)]
    hints = typing.get_type_hints(cls)
    required = set.intersection(*(set(schema["required"]) for schema in schemas))
    assert set(members_of(cls).required) == required
    properties = {name: part for schema in schemas for name, part in schema["properties"].items()}
    assert set(members_of(cls).readers) == set(properties)
    for name, schema in properties.items():
        expected = describe_schema(document, schema, required=name in required)
        assert describe_hint(hints[name], required=name in required) == expected, name


@pytest.mark.parametrize("word", WORDS)
def test_words_of_filters_are_those_of_the_schema(document: Any, word: str) -> None:
    schema = document["components"]["schemas"][WORDS[word]]
    assert list(typing.get_args(getattr(models, word))) == schema["enum"]


def test_document_has_no_other_response_schemas(document: Any) -> None:
    """A new schema needs a dataclass, or a line here."""
    covered = {name for cls in CLASSES for name in schema_names(cls)}
    requests = {"CreateVM", "UpdateVM", "Restart", "BulkFilter", "BulkRequest"}
    requests |= {"BulkActionByIds", "BulkActionByFilter"}
    pages = {name for name in document["components"]["schemas"] if name.endswith("List")}
    others = {"BulkPart", "BulkItem", "Liveness", "ProblemType"}
    objects = {
        name for name, schema in document["components"]["schemas"].items() if "enum" not in schema
    }
    assert objects - covered - requests - pages - others == set()


def test_unknown_members_are_saved_and_returned() -> None:
    newer = {**VM_DOCUMENT, "status": "HIBERNATED", "zone": "a", "fault": {**FAULT, "level": 3}}
    vm = models.VM.from_json(newer, etag='"1"')
    assert (vm.status, vm.extra, vm.etag) == ("HIBERNATED", {"zone": "a"}, '"1"')
    assert vm.fault is not None
    assert vm.fault.extra == {"level": 3}
    assert vm.to_json() == newer


FAULT = {"code": "build_failed", "message": "No disk", "hint": "Try again."}


def test_values_have_python_types() -> None:
    vm = models.VM.from_json(VM_DOCUMENT)
    assert vm.created_at == datetime(2026, 2, 25, 10, 30, tzinfo=UTC)
    assert (vm.allowed_actions[0], vm.addresses[0].ip) == ("stop", "198.18.0.2")
    assert {vm: 1}[models.VM.from_json(VM_DOCUMENT, etag="other")] == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        vm.name = "web-2"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (None, "is not a JSON object"),
        ([], "is not a JSON object"),
        ({**VM_DOCUMENT, "addresses": [1]}, "Address is not a JSON object"),
        ({**VM_DOCUMENT, "addresses": 1}, "VM has a member of a wrong type"),
        ({**VM_DOCUMENT, "created_at": None}, "VM has a member of a wrong type"),
        ({"id": "1"}, "VM has no member name, flavor"),
    ],
)
def test_document_of_another_form_is_refused(document: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        models.VM.from_json(document)


def schema_names(cls: type[Model]) -> tuple[str, ...]:
    return SCHEMAS.get(cls.__name__, (cls.__name__,))


def describe_hint(hint: Any, *, required: bool) -> tuple[str, bool]:
    """Return the JSON type of an annotation, and whether it may be null."""
    parts = typing.get_args(hint) if isinstance(hint, UnionType) else (hint,)
    (kind,) = (part for part in parts if part is not type(None))
    nullable = required and type(None) in parts
    origin = typing.get_origin(kind)
    if origin is tuple:
        return "array", nullable
    if origin is not None or issubclass(kind, Model):
        return "object", nullable
    return JSON_TYPES[kind], nullable


def describe_schema(document: Any, schema: Any, *, required: bool) -> tuple[str, bool]:
    """Return the JSON type of a schema, and whether it may be null."""
    parts = schema.get("anyOf") or schema.get("allOf") or [schema]
    types: list[str] = []
    for part in parts:
        name = part.get("$ref", "").rpartition("/")[2]
        kind = (document["components"]["schemas"][name] if name else part)["type"]
        types += kind if isinstance(kind, list) else [kind]
    (kind,) = {kind for kind in types if kind != "null"}
    return kind, required and "null" in types
