"""Roles and permissions. Every endpoint names the permission that it requires."""

from collections.abc import Mapping
from enum import StrEnum


class Permission(StrEnum):
    """A permission that an endpoint requires."""

    READ = "read"
    CHANGE = "change"
    AUDIT = "audit"
    ALL_PROJECTS = "all_projects"


class Role(StrEnum):
    """The role of a caller; each includes the permissions of those before it."""

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
    Permission.ALL_PROJECTS: "read and change the VMs of every project",
}


def lowest_role(permission: Permission) -> Role:
    """Return the lowest role with a permission."""
    return next(role for role in Role if permission in ROLE_PERMISSIONS[role])


def highest_role(roles: set[Role]) -> Role | None:
    """Return the highest of some roles; None for an empty set."""
    return max(roles, key=list(Role).index, default=None)
