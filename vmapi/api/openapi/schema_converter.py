"""Convert marshmallow schemas to JSON Schema that client generators support.

The rules: each enumeration is one named component, a reference has no siblings, and a schema that
needs one of several members is a `oneOf`.
"""

import inspect
from typing import Any

from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import Schema, fields

COMPONENT_PATH = "#/components/schemas/"


class SchemaConverter(OpenAPIConverter):
    """A converter that names enumerations and alternatives."""

    def field2property(self, field: fields.Field[Any]) -> dict[str, Any]:
        """Return the JSON Schema of a field. Raises KeyError for an enumeration without a name."""
        document: dict[str, Any] = super().field2property(field)
        # the docs page would send the default, and a cursor excludes all other parameters
        document.pop("default", None)
        values = [value for value in document.pop("enum", ()) if value is not None]
        if not values:
            return document
        if len(values) == 1:
            return {**document, "const": values[0]}
        document.pop("type", None)
        reference = self._add_enum(field.metadata["enum_name"], values)
        if field.allow_none:
            return {**document, "anyOf": [reference, {"type": "null"}]}
        return {**document, **reference}

    def schema2jsonschema(self, schema: Schema) -> dict[str, Any]:
        """Return the JSON Schema of a schema, with its docstring as the description."""
        document: dict[str, Any] = super().schema2jsonschema(schema)  # type: ignore[no-untyped-call]
        document["description"] = inspect.getdoc(schema)
        component_names: dict[str, str] = getattr(schema, "EXACTLY_ONE_OF", {})
        if not component_names:
            return document
        description = document.pop("description")
        alternatives = [
            self._add_alternative(document, member, component_names) for member in component_names
        ]
        return {"oneOf": alternatives, "description": description}

    def _add_enum(self, name: str, values: list[Any]) -> dict[str, str]:
        type_name = "integer" if isinstance(values[0], int) else "string"
        return self._add_component(name, {"type": type_name, "enum": values})

    def _add_alternative(
        self, document: dict[str, Any], member: str, component_names: dict[str, str]
    ) -> dict[str, str]:
        excluded = component_names.keys() - {member}
        properties = document["properties"].items()
        required = {*document.get("required", ()), member}
        component = {
            **document,
            "properties": {name: value for name, value in properties if name not in excluded},
            "required": sorted(required),
        }
        return self._add_component(component_names[member], component)

    def _add_component(self, name: str, component: dict[str, Any]) -> dict[str, str]:
        """Add a component once. Raises ValueError if another component has the name."""
        components = self.spec.components.schemas
        if components.setdefault(name, component) != component:
            raise ValueError(f"two schemas have the name {name}")
        return {"$ref": COMPONENT_PATH + name}


class SchemaPlugin(MarshmallowPlugin):
    """The apispec plugin with this converter."""

    Converter = SchemaConverter


def wrap_references(value: Any) -> Any:
    """Return a part of the document in which no reference has siblings.

    Tools for OpenAPI 3.0 ignore the siblings of `$ref`.
    """
    if isinstance(value, list):
        return [wrap_references(item) for item in value]
    if not isinstance(value, dict):
        return value
    wrapped = {name: wrap_references(member) for name, member in value.items()}
    if "$ref" in wrapped and len(wrapped) > 1:
        wrapped["allOf"] = [{"$ref": wrapped.pop("$ref")}]
    return wrapped
