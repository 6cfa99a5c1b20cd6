"""The OpenAPI 3.1 document, made from the blueprints."""

import threading
from typing import Any

import flask_smorest
import orjson
from flask import Flask
from marshmallow import fields

from vmapi import __version__
from vmapi.api.schemas.fields import METADATA_KEY_PATTERN, MetadataField, NulFreeString
from vmapi.domain.vm import MAX_METADATA_PAIRS

API_DESCRIPTION = """The life of virtual machines over HTTP.

A change is answered with the VM when it is settled, else with **202**: poll `GET
/vms/{id}/status` until `task` is null, or the operation in `Operation-Location`, or listen to `GET
/events`. Every error is `application/problem+json` (RFC 9457) with a stable `code`;
`/problems/{code}` explains each."""

SECURITY_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API token (`vmapi_…`), or a token of the issuer that vmapi trusts.",
    },
    "keystone": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Auth-Token",
        "description": "A Keystone token for a project; it may also come as a bearer token.",
    },
}

PATH_PARAMETERS = {
    "vm_id": {"type": "string", "format": "uuid", "description": "the id the cloud gave"},
    "operation_id": {"type": "string", "format": "uuid", "description": "see Operation-Location"},
    "code": {"type": "string", "pattern": "^[a-z_]+$", "description": "the code of a problem"},
}


class Api(flask_smorest.Api):
    """Collects the blueprints' documentation. Errors and pages are served by our own code.

    The document is made when it is first asked for: it takes longer than all else at start.
    """

    def __init__(self, app: Flask) -> None:
        self._lock = threading.Lock()
        self._undocumented: list[flask_smorest.Blueprint] = []
        self._json = b""
        super().__init__(
            app,
            spec_kwargs={
                "title": "vmapi",
                "version": __version__,
                "openapi_version": "3.1.0",
                "info": {
                    "description": API_DESCRIPTION,
                    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
                },
                "servers": [{"url": "/"}],
            },
        )

    def register_blueprint(self, blp: flask_smorest.Blueprint, **options: Any) -> None:
        """Serve a blueprint, and keep it for the document."""
        self._app.register_blueprint(blp, **options)
        self._undocumented.append(blp)

    def to_json(self) -> bytes:
        """Return the document as JSON."""
        with self._lock:
            if not self._json:
                self._json = orjson.dumps(self.build_document())
            return self._json

    def build_document(self) -> dict[str, Any]:
        """Return the document, with the path parameters and the body of a PATCH described."""
        while self._undocumented:
            blp = self._undocumented.pop(0)
            blp.register_views_in_doc(self, self._app, self.spec, name=blp.name, parameters=None)
            self.spec.tag({"name": blp.name, "description": blp.description})
        document: dict[str, Any] = self.spec.to_dict()
        # flask-smorest's own, which nothing refers to
        document["components"]["schemas"].pop("PaginationMetadata")
        for path in document["paths"].values():
            for parameter in path.get("parameters", ()):
                schema = dict(PATH_PARAMETERS[parameter["name"]])
                parameter |= {"description": schema.pop("description"), "schema": schema}
            if "patch" in path:
                content = path["patch"]["requestBody"]["content"]
                content["application/merge-patch+json"] = content["application/json"]
        self._add_security(document)
        return document

    def _add_security(self, document: dict[str, Any]) -> None:
        """Say how one is let in, as far as this installation takes it."""
        schemes = self._app.config["SETTINGS"].auth_schemes
        names = ["bearer", *(["keystone"] if "keystone" in schemes else [])]
        document["components"]["securitySchemes"] = {name: SECURITY_SCHEMES[name] for name in names}
        ways: list[dict[str, list[str]]] = [{name: []} for name in names]
        accepted = [*ways, {}] if "none" in schemes else ways
        for path in document["paths"].values():
            for operation in path.values():
                if isinstance(operation, dict) and operation["security"]:
                    operation["security"] = accepted

    def _init_spec(self, **options: Any) -> None:
        super()._init_spec(**options)
        self.ma_plugin.converter.add_attribute_function(_metadata_attributes)
        self.ma_plugin.converter.add_attribute_function(_string_attributes)

    def _register_error_handlers(self) -> None:
        """Leave errors to `vmapi.api.problems`."""

    def _register_responses(self) -> None:
        """Leave the documentation of errors to `Blueprint.refuses`."""


def _metadata_attributes(_: Any, field: fields.Field[Any], **__: Any) -> dict[str, Any]:
    if not isinstance(field, MetadataField):
        return {}
    # in a patch null is no pair
    most = {} if field.patch else {"maxProperties": MAX_METADATA_PAIRS}
    return {
        "type": "object",
        **most,
        "propertyNames": {"pattern": METADATA_KEY_PATTERN, "not": {"pattern": r"^vmapi\."}},
        "additionalProperties": {
            "type": ["string", "null"] if field.patch else "string",
            "maxLength": 255,
            "pattern": r"^[^\u0000]*$",
        },
    }


def _string_attributes(_: Any, field: fields.Field[Any], **__: Any) -> dict[str, Any]:
    return {"pattern": r"^[^\u0000]*$"} if isinstance(field, NulFreeString) else {}
