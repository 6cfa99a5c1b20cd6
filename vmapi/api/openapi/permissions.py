"""The permission of each endpoint: declared by a decorator, documented, and looked up.

`vmapi.api.middleware.authorization` enforces the permissions. An endpoint without a declaration
stops the start of the app.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask

from vmapi.domain.access.roles import Permission, lowest_role
from vmapi.domain.audit import MAX_ACTION_CHARS, OPERATION_ACTIONS, TOKEN_ACTIONS
from vmapi.domain.lifecycle import Action

View = TypeVar("View", bound=Callable[..., Any])

PUBLIC = None
"""The permission of an endpoint that needs no token."""

AUTH_PROBLEMS = ("unauthenticated", "forbidden", "store_unavailable", "issuer_unavailable")
"""Problems of every endpoint that is not public."""


def requires(permission: Permission | None) -> Callable[[View], View]:
    """Declare the permission that a view requires, or PUBLIC."""

    def decorator(view: View) -> View:
        doc = {**getattr(view, "_apidoc", {}), "permission": permission}
        setattr(view, "_apidoc", doc)  # noqa: B010 - flask-smorest reads this attribute
        return view

    return decorator


def permission_of(name: str, view: Any) -> Permission | None:
    """Return the permission of an endpoint. Raises TypeError if it declares none."""
    doc = getattr(view, "_apidoc", {})
    if "permission" not in doc:
        raise TypeError(f"the endpoint {name} declares no permission: use @blp.requires(...)")
    permission: Permission | None = doc["permission"]
    return permission


def permissions_by_endpoint(app: Flask) -> dict[str, Permission | None]:
    """Return the permission of each endpoint. Raises TypeError if one declares none."""
    return {name: permission_of(name, view) for name, view in app.view_functions.items()}


def audit_actions(app: Flask) -> list[str]:
    """Return every action of the audit trail: of VMs, of tokens, and refused API calls."""
    endpoints = permissions_by_endpoint(app)
    refusable = {
        name.rpartition(".")[2][:MAX_ACTION_CHARS]
        for name, permission in endpoints.items()
        if permission is not PUBLIC
    }
    return sorted({*map(str, Action), *TOKEN_ACTIONS, *OPERATION_ACTIONS, *refusable})


def document_security(doc: dict[str, Any], doc_info: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add the security requirement and the required role to the OpenAPI operation."""
    permission = doc_info["permission"]
    doc["security"] = [] if permission is None else [{"bearer": []}]
    if permission is not None:
        doc_info["problems"] = (*doc_info.get("problems", ()), *AUTH_PROBLEMS)
        docstring = doc_info["docstring"]
        role = f"Needs the role **{lowest_role(permission)}**."
        docstring["description"] = f"{docstring.get('description', '')}\n\n{role}".strip()
    return doc
