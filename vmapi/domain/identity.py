"""Who asks, as the caller has proved it."""

import re
from dataclasses import dataclass, field
from typing import NoReturn

from vmapi.domain.project import DEFAULT_PROJECT, Scope
from vmapi.domain.roles import ROLE_PERMISSIONS, Permission, Role

SUBJECT_PATTERN = re.compile(r"[ -~]{1,255}")


class CallerToken:
    """A token of the cloud's own Keystone, and the id of the project that it is for.

    It lives as long as a first call is to be made with it: nothing shows, compares or keeps it.
    """

    __slots__ = ("project", "value")

    def __init__(self, token: str, project: str) -> None:
        self.value = token
        self.project = project

    def __repr__(self) -> str:
        """Show nothing of it."""
        return "CallerToken(hidden)"

    def __reduce__(self) -> NoReturn:
        """Let it not be pickled, nor copied that way."""
        raise TypeError("a credential is not to be kept")


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller: what it is called, what it may, and to which project belongs what it makes.

    Without a role it may nothing. What comes from outside is called `jwt:…` or `keystone:…`, so
    that nobody there can take a name which an operator has given to a token here. Who came with a
    token of the cloud's Keystone has it as its `credential`.
    """

    subject: str
    role: Role | None
    project: str
    caller_token: CallerToken | None = field(default=None, repr=False, compare=False)

    @property
    def scope(self) -> Scope:
        """The project that is all it sees and touches; None for all projects."""
        return None if self.has_permission(Permission.ALL_PROJECTS) else self.project

    def has_permission(self, permission: Permission) -> bool:
        """Tell whether it has a permission."""
        return self.role is not None and permission in ROLE_PERMISSIONS[self.role]


ANONYMOUS_SUBJECT = "anonymous"
"""What is in the log for who did not say who it is."""

UNAUTHENTICATED = Identity(ANONYMOUS_SUBJECT, None, DEFAULT_PROJECT)
"""Who has not said who it is, and may nothing."""


def anonymous(project: str) -> Identity:
    """Return who need not say who it is (`VMAPI_AUTH=none`), and may everything."""
    return Identity(ANONYMOUS_SUBJECT, Role.ADMIN, project)
