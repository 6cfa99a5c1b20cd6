"""The authorization matrix, from what enforces it."""

from flask import Flask

from vmapi.api.openapi.permissions import permissions_by_endpoint
from vmapi.domain.roles import PERMISSION_DESCRIPTIONS, ROLE_PERMISSIONS, Permission, Role


def authorization_table(app: Flask) -> str:
    """Return who may what, in Markdown."""
    head = ["", *Role]
    rows = [
        [_format_endpoint(app, name), *_role_cells(needed)]
        for name, needed in permissions_by_endpoint(app).items()
    ]
    permissions = [[PERMISSION_DESCRIPTIONS[each], *_role_cells(each)] for each in Permission]
    return "\n".join(
        [
            *_format_table([["permission", *Role], *permissions]),
            "",
            *_format_table([["call", *head[1:]], *sorted(rows)]),
        ]
    )


def _role_cells(needed: Permission | None) -> list[str]:
    return [
        "anybody" if needed is None else "yes" if needed in ROLE_PERMISSIONS[role] else "–"
        for role in Role
    ]


def _format_endpoint(app: Flask, endpoint: str) -> str:
    (rule,) = app.url_map.iter_rules(endpoint)
    (method,) = (rule.methods or set()) - {"HEAD", "OPTIONS"}
    return f"`{method} {rule.rule}`"


def _format_table(rows: list[list[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]
