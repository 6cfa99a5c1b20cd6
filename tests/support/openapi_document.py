"""Parts of the OpenAPI document, with their components."""

from typing import Any

SCHEMA_PREFIX = "#/components/schemas/"


def resolve_references(document: Any, part: Any) -> Any:
    """Return a part of the document with components in place of references, except schemas."""
    if isinstance(part, list):
        return [resolve_references(document, item) for item in part]
    if not isinstance(part, dict):
        return part
    reference = part.get("$ref", SCHEMA_PREFIX)
    if not reference.startswith(SCHEMA_PREFIX):
        _, _, kind, name = reference.split("/")
        return resolve_references(document, document["components"][kind][name])
    return {name: resolve_references(document, member) for name, member in part.items()}
