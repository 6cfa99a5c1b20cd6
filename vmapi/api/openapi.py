"""The OpenAPI 3.1 document, made from the blueprints."""

from typing import Any

import flask_smorest
from flask import Flask
from marshmallow import fields

from vmapi import __version__
from vmapi.api.fields import METADATA_KEY, Metadata, Text
from vmapi.models.vm import MAX_METADATA

DESCRIPTION = """The life of virtual machines over HTTP.

A change is answered with the VM when it is settled, else with **202**: poll `GET
/vms/{id}/status` until `task` is null, or the operation in `Operation-Location`. Every error is
`application/problem+json` (RFC 9457) with a stable `code`; `/problems/{code}` explains each."""

PARAMETERS = {
    "vm_id": {"type": "string", "format": "uuid", "description": "the id the cloud gave"},
    "operation_id": {"type": "string", "format": "uuid", "description": "see Operation-Location"},
    "code": {"type": "string", "pattern": "^[a-z_]+$", "description": "the code of a problem"},
}


class Api(flask_smorest.Api):
    """Collects the blueprints' documentation. Errors and pages are served by our own code."""

    def __init__(self, app: Flask) -> None:
        super().__init__(
            app,
            spec_kwargs={
                "title": "vmapi",
                "version": __version__,
                "openapi_version": "3.1.0",
                "info": {
                    "description": DESCRIPTION,
                    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
                },
                "servers": [{"url": "/"}],
            },
        )

    def document(self) -> dict[str, Any]:
        """Return the document, with the path parameters described."""
        document: dict[str, Any] = self.spec.to_dict()
        for path in document["paths"].values():
            for parameter in path.get("parameters", ()):
                schema = dict(PARAMETERS[parameter["name"]])
                parameter |= {"description": schema.pop("description"), "schema": schema}
        return document

    def _init_spec(self, **options: Any) -> None:
        super()._init_spec(**options)
        self.ma_plugin.converter.add_attribute_function(_metadata)
        self.ma_plugin.converter.add_attribute_function(_text)

    def _register_error_handlers(self) -> None:
        """Leave errors to `vmapi.api.problems`."""

    def _register_responses(self) -> None:
        """Leave the documentation of errors to `Blueprint.refuses`."""


def _metadata(_: Any, field: fields.Field[Any], **__: Any) -> dict[str, Any]:
    if not isinstance(field, Metadata):
        return {}
    return {
        "type": "object",
        "maxProperties": MAX_METADATA,
        "propertyNames": {"pattern": METADATA_KEY, "not": {"pattern": r"^vmapi\."}},
        "additionalProperties": {
            "type": ["string", "null"] if field.patch else "string",
            "maxLength": 255,
            "pattern": r"^[^\u0000]*$",
        },
    }


def _text(_: Any, field: fields.Field[Any], **__: Any) -> dict[str, Any]:
    return {"pattern": r"^[^\u0000]*$"} if isinstance(field, Text) else {}
