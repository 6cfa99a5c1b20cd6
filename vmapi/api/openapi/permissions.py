"""What an endpoint needs: stated by its decorator, documented, asked for by `vmapi.api.access`."""

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask

from vmapi.domain.roles import Permission, lowest_role

View = TypeVar("View", bound=Callable[..., Any])

PUBLIC = None
"""What an endpoint needs that is open to all."""

AUTH_PROBLEMS = ("unauthenticated", "forbidden", "store_unavailable", "issuer_unavailable")
"""What an endpoint that is not may answer with."""


def requires(permission: Permission | None) -> Callable[[View], View]:
    """Name the permission that a view needs, or ANYBODY."""

    def decorator(view: View) -> View:
        doc = {**getattr(view, "_apidoc", {}), "needs": permission}
        setattr(view, "_apidoc", doc)  # noqa: B010 - flask-smorest looks for it there
        return view

    return decorator


def permission_of(name: str, view: Any) -> Permission | None:
    """Return what an endpoint needs. Raises TypeError for one that does not say."""
    doc = getattr(view, "_apidoc", {})
    if "needs" not in doc:
        raise TypeError(f"the endpoint {name} does not say what it needs: @blp.needs(…)")
    permission: Permission | None = doc["needs"]
    return permission


def permissions_by_endpoint(app: Flask) -> dict[str, Permission | None]:
    """Return what each endpoint needs. Raises TypeError for one that does not say."""
    return {name: permission_of(name, view) for name, view in app.view_functions.items()}


def document_security(doc: dict[str, Any], doc_info: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Say in the documentation of an endpoint what it needs."""
    permission = doc_info["needs"]
    doc["security"] = [] if permission is None else [{"bearer": []}]
    if permission is not None:
        doc_info["problems"] = (*doc_info.get("problems", ()), *AUTH_PROBLEMS)
        told = doc_info["docstring"]
        role = f"Needs the role **{lowest_role(permission)}**."
        told["description"] = f"{told.get('description', '')}\n\n{role}".strip()
    return doc
