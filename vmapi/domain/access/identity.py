"""Identities: authenticated callers with their role and project."""

import re
from dataclasses import dataclass, field
from typing import NoReturn

from vmapi.domain.access.project import DEFAULT_PROJECT, Scope
from vmapi.domain.access.roles import ROLE_PERMISSIONS, Permission, Role

SUBJECT_PATTERN = re.compile(r"[ -~]{1,255}")


class CallerToken:
    """A caller's Keystone token and the id of its project.

    It exists in memory until the first step of the operation is dispatched. It is never stored,
    logged, compared or copied.
    """

    __slots__ = ("project", "value")

    def __init__(self, token: str, project: str) -> None:
        self.value = token
        self.project = project

    def __repr__(self) -> str:
        """Hide the token."""
        return "CallerToken(hidden)"

    def __reduce__(self) -> NoReturn:
        """Refuse to pickle or copy the token. Raises TypeError."""
        raise TypeError("a caller token must not be stored")


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated caller.

    Subjects from outside begin with `jwt:` or `keystone:`, so that no external user can take the
    name of an API token.
    """

    subject: str
    #: None permits nothing
    role: Role | None
    #: the project of the VMs that the caller creates
    project: str
    #: set if the caller authenticated with a token of the cloud's Keystone
    caller_token: CallerToken | None = field(default=None, repr=False, compare=False)

    @property
    def scope(self) -> Scope:
        """The only project that the caller sees and changes; None for all projects."""
        return None if self.has_permission(Permission.ALL_PROJECTS) else self.project

    def has_permission(self, permission: Permission) -> bool:
        """Return whether the role of the caller grants a permission."""
        return self.role is not None and permission in ROLE_PERMISSIONS[self.role]


ANONYMOUS_SUBJECT = "anonymous"
"""The subject of unauthenticated callers, in logs and audit entries."""

UNAUTHENTICATED = Identity(ANONYMOUS_SUBJECT, None, DEFAULT_PROJECT)
"""The identity of a request without credentials: it permits nothing."""


def anonymous(project: str) -> Identity:
    """Return the identity of all callers under `VMAPI_AUTH=none`: an admin."""
    return Identity(ANONYMOUS_SUBJECT, Role.ADMIN, project)
