"""Who asks, as the caller has proved it."""

import re
from dataclasses import dataclass, field

from vmapi.domain.credential import Credential
from vmapi.domain.operation import DEFAULT_PROJECT
from vmapi.domain.project import Scope
from vmapi.domain.roles import ROLES, Permission, Role
from vmapi.settings import parsing as notation

SUBJECT = re.compile(r"[ -~]{1,255}")
PROJECT = re.compile(notation.PROJECT)


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
    credential: Credential | None = field(default=None, repr=False, compare=False)

    @property
    def scope(self) -> Scope:
        """The project that is all it sees and touches; None for all projects."""
        return None if self.may(Permission.ALL_PROJECTS) else self.project

    def may(self, permission: Permission) -> bool:
        """Tell whether it has a permission."""
        return self.role is not None and permission in ROLES[self.role]


UNNAMED = "anonymous"
"""What is in the log for who did not say who it is."""

NOBODY = Identity(UNNAMED, None, DEFAULT_PROJECT)
"""Who has not said who it is, and may nothing."""


def anonymous(project: str) -> Identity:
    """Return who need not say who it is (`VMAPI_AUTH=none`), and may everything."""
    return Identity(UNNAMED, Role.ADMIN, project)
