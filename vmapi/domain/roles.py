"""Who may what: one table of data. Every endpoint names the permission that it needs."""

from collections.abc import Mapping
from enum import StrEnum


class Permission(StrEnum):
    """What an endpoint may ask for."""

    READ = "read"
    CHANGE = "change"
    AUDIT = "audit"
    TOKENS = "tokens"
    ALL_PROJECTS = "all_projects"


class Role(StrEnum):
    """What a caller is, the least first."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


ROLE_PERMISSIONS: Mapping[Role, frozenset[Permission]] = {
    Role.VIEWER: frozenset({Permission.READ}),
    Role.OPERATOR: frozenset({Permission.READ, Permission.CHANGE}),
    Role.ADMIN: frozenset(Permission),
}

PERMISSION_DESCRIPTIONS: Mapping[Permission, str] = {
    Permission.READ: "read VMs, operations, events, quotas and the catalog",
    Permission.CHANGE: "create, change and delete VMs",
    Permission.AUDIT: "read the audit trail",
    Permission.TOKENS: "make and revoke API tokens",
    Permission.ALL_PROJECTS: "read and change the VMs of every project",
}


def lowest_role(permission: Permission) -> Role:
    """Return the least role that has a permission."""
    return next(role for role in Role if permission in ROLE_PERMISSIONS[role])


def highest_role(roles: set[Role]) -> Role | None:
    """Return the greatest of some roles; None of none."""
    return max(roles, key=list(Role).index, default=None)
