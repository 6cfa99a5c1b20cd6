"""The OpenAPI 3.1 document, built from the blueprints."""

import threading
from typing import Any

import flask_smorest
import orjson
from flask import Flask
from marshmallow import fields

from vmapi import __version__
from vmapi.api.openapi.headers import REQUEST_HEADERS, RESPONSE_HEADERS
from vmapi.api.openapi.schema_converter import SchemaPlugin, wrap_references
from vmapi.api.problems.schema import problem_example
from vmapi.api.problems.types import PROBLEM_TYPES
from vmapi.api.schemas.fields import MetadataField, NulFreeString
from vmapi.api.schemas.ssh_keys import MAX_SSH_KEY_CHARS, SSH_KEY_PATTERN, SSHKeyField
from vmapi.domain.metadata import MAX_METADATA_PAIRS, METADATA_KEY_PATTERN

NUL_FREE_PATTERN = r"^[^\x00]*$"

API_DESCRIPTION = """Create, start, stop and delete virtual machines over HTTP.

A change returns the VM when the operation is finished. While the operation is in progress, the
response is **202**. Then poll `GET {base_path}/vms/{{vm_id}}/status` until `task` is null, poll the
URL in `Operation-Location`, or listen to `GET {base_path}/events`.

Every error is a problem document (`application/problem+json`, RFC 9457) with a stable `code`.
`GET /problems/{{code}}` explains each code."""

METHODS = {"get", "post", "patch", "delete"}

CONTRACT_PATH = "/docs/reference/api.md"

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
        "description": "A Keystone token with a project. A bearer token can be one, too.",
    },
}

PATH_PARAMETERS = {
    "vm_id": {
        "description": "Id of the VM.",
        "schema": {"type": "string", "format": "uuid"},
    },
    "operation_id": {
        "description": "Id of the operation, the last part of `Operation-Location`.",
        "schema": {"type": "string", "format": "uuid"},
    },
    "code": {
        "description": "Code of the problem.",
        "schema": {"type": "string", "pattern": "^[a-z_]+$"},
    },
}


class Api(flask_smorest.Api):
    """Collects the blueprints and builds their OpenAPI document on the first request for it.

    Building the document takes longer than the rest of the start. vmapi serves errors and pages
    with its own code instead of flask-smorest's.
    """

    DEFAULT_ERROR_RESPONSE_NAME = None

    def __init__(self, app: Flask, base_path: str) -> None:
        self._lock = threading.Lock()
        self._undocumented: list[tuple[flask_smorest.Blueprint, str]] = []
        self._json = b""
        super().__init__(
            app,
            spec_kwargs={
                "title": "vmapi",
                "version": __version__,
                "openapi_version": "3.1.0",
                "info": {
                    "description": API_DESCRIPTION.format(base_path=base_path),
                    "contact": {"name": "The operator of this server"},
                    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
                },
                "externalDocs": {
                    "description": "The contract of the API: every rule that clients may rely on",
                    "url": CONTRACT_PATH,
                },
                "servers": [{"url": "/"}],
            },
        )

    def describe(self, blueprint: flask_smorest.Blueprint, name: str) -> None:
        """Remember a blueprint, which the app serves under a name, for the document."""
        self._undocumented.append((blueprint, name))

    def to_json(self, origin: str) -> bytes:
        """Return the document as JSON, with links to the origin of the request."""
        with self._lock:
            if not self._json:
                self._json = orjson.dumps(self.build_document())
        # OpenAPI requires an absolute URL, and only the request has the address of the server
        contract_url = orjson.dumps(origin + CONTRACT_PATH)
        return self._json.replace(orjson.dumps(CONTRACT_PATH), contract_url)

    def build_document(self) -> dict[str, Any]:
        """Return the document with the path parameters and both media types of a PATCH."""
        while self._undocumented:
            blp, name = self._undocumented.pop(0)
            blp.register_views_in_doc(self, self._app, self.spec, name=name, parameters=None)
            self.spec.tag({"name": blp.name, "description": blp.description})
        document: dict[str, Any] = wrap_references(self.spec.to_dict())
        # flask-smorest adds this schema, and nothing refers to it
        document["components"]["schemas"].pop("PaginationMetadata")
        for path in document["paths"].values():
            # Swagger UI resolves no reference among the parameters of a path
            for parameter in path.get("parameters", ()):
                parameter.update(PATH_PARAMETERS[parameter["name"]])
            for method in METHODS & path.keys():
                # without the prefix of the version
                path[method]["tags"] = [tag.rpartition(".")[2] for tag in path[method]["tags"]]
            if "patch" in path:
                content = path["patch"]["requestBody"]["content"]
                content["application/merge-patch+json"] = content["application/json"]
        self._add_security(document)
        return document

    def _add_security(self, document: dict[str, Any]) -> None:
        """Describe the authentication schemes that the settings enable."""
        schemes = self._app.config["SETTINGS"].auth_schemes
        names = ["bearer", *(["keystone"] if "keystone" in schemes else [])]
        document["components"]["securitySchemes"] = {name: SECURITY_SCHEMES[name] for name in names}
        requirements: list[dict[str, list[str]]] = [{name: []} for name in names]
        if "none" in schemes:
            requirements.append({})
        for path in document["paths"].values():
            for operation in path.values():
                if isinstance(operation, dict) and operation["security"]:
                    operation["security"] = requirements

    def _init_spec(self, **options: Any) -> None:
        super()._init_spec(marshmallow_plugin=SchemaPlugin(), **options)
        self.ma_plugin.converter.add_attribute_function(_metadata_attributes)
        self.ma_plugin.converter.add_attribute_function(_string_attributes)
        self._register_components()

    def _register_components(self) -> None:
        """Register the headers and examples that endpoints can refer to."""
        components = self.spec.components
        for name, header in RESPONSE_HEADERS.items():
            components.header(name, header, lazy=True)
        for name, header in REQUEST_HEADERS.items():
            components.parameter(name, "header", header, lazy=True)
        for code in PROBLEM_TYPES:
            components.example(code, {"value": problem_example(code)}, lazy=True)

    def _register_error_handlers(self) -> None:
        """Install no handlers: `vmapi.api.problems` converts errors."""

    def _register_responses(self) -> None:
        """Document no errors: `Blueprint.problems` does."""


def _metadata_attributes(_: Any, field: fields.Field[Any], **__: Any) -> dict[str, Any]:
    if not isinstance(field, MetadataField):
        return {}
    return {
        "type": "object",
        "maxProperties": MAX_METADATA_PAIRS,
        "propertyNames": {"pattern": METADATA_KEY_PATTERN, "not": {"pattern": r"^vmapi\."}},
        "additionalProperties": {
            "type": ["string", "null"] if field.patch else "string",
            "maxLength": 255,
            "pattern": NUL_FREE_PATTERN,
        },
    }


def _string_attributes(_: Any, field: fields.Field[Any], **__: Any) -> dict[str, Any]:
    if isinstance(field, SSHKeyField):
        return {"pattern": SSH_KEY_PATTERN, "maxLength": MAX_SSH_KEY_CHARS}
    return {"pattern": NUL_FREE_PATTERN} if isinstance(field, NulFreeString) else {}
