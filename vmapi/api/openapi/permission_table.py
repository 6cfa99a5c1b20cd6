"""Render the authorization table from the permissions that the app enforces."""

from flask import Flask

from vmapi.api.openapi.permissions import permissions_by_endpoint
from vmapi.domain.access.roles import PERMISSION_DESCRIPTIONS, ROLE_PERMISSIONS, Permission, Role


def authorization_table(app: Flask) -> str:
    """Return the permissions and the endpoints of each role as two Markdown tables."""
    permissions = [
        [PERMISSION_DESCRIPTIONS[permission], *_role_cells(permission)] for permission in Permission
    ]
    endpoints = [
        [_format_endpoint(app, name), *_role_cells(permission)]
        for name, permission in permissions_by_endpoint(app).items()
    ]
    return "\n".join(
        [
            *_format_table([["permission", *Role], *permissions]),
            "",
            *_format_table([["call", *Role], *sorted(endpoints)]),
        ]
    )


def _role_cells(permission: Permission | None) -> list[str]:
    if permission is None:
        return ["public"] * len(Role)
    return ["yes" if permission in ROLE_PERMISSIONS[role] else "–" for role in Role]


def _format_endpoint(app: Flask, endpoint: str) -> str:
    (rule,) = app.url_map.iter_rules(endpoint)
    (method,) = (rule.methods or set()) - {"HEAD", "OPTIONS"}
    return f"`{method} {rule.rule}`"


def _format_table(rows: list[list[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]
