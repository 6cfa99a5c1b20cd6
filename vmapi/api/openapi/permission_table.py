"""The authorization matrix, from what enforces it."""

from flask import Flask

from vmapi.api.openapi.permissions import needs_of
from vmapi.domain.roles import MEANING, ROLES, Permission, Role


def table(app: Flask) -> str:
    """Return who may what, in Markdown."""
    head = ["", *Role]
    rows = [[_call(app, name), *_ticks(needed)] for name, needed in needs_of(app).items()]
    permissions = [[MEANING[each], *_ticks(each)] for each in Permission]
    return "\n".join(
        [
            *_lines([["permission", *Role], *permissions]),
            "",
            *_lines([["call", *head[1:]], *sorted(rows)]),
        ]
    )


def _ticks(needed: Permission | None) -> list[str]:
    return [
        "anybody" if needed is None else "yes" if needed in ROLES[role] else "–" for role in Role
    ]


def _call(app: Flask, endpoint: str) -> str:
    (rule,) = app.url_map.iter_rules(endpoint)
    (method,) = (rule.methods or set()) - {"HEAD", "OPTIONS"}
    return f"`{method} {rule.rule}`"


def _lines(rows: list[list[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]
