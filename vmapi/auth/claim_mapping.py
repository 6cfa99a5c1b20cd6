"""Mapping of an issuer's claims to an identity: subject, role, project."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vmapi.domain.access.identity import SUBJECT_PATTERN, Identity
from vmapi.domain.access.project import PROJECT_NAME_PATTERN
from vmapi.domain.access.roles import Role, highest_role
from vmapi.errors import Unauthenticated


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimMapping:
    """The claims that hold the members of an identity.

    A claim is a name, or a JSON pointer (RFC 6901) if it begins with `/`.
    """

    subject_claim: str
    role_claim: str
    #: The role here for each value of the role claim.
    roles: Mapping[str, Role]
    #: None where every caller belongs to the default project.
    project_claim: str | None
    default_project: str

    def to_identity(self, claims: Mapping[str, Any]) -> Identity:
        """Return the identity that claims describe. Raises Unauthenticated if one is missing."""
        subject = _resolve_claim(claims, self.subject_claim)
        is_named = isinstance(subject, str) and subject != ""
        if not is_named or not SUBJECT_PATTERN.fullmatch(f"jwt:{subject}"):
            raise Unauthenticated(
                f"This token's claim {self.subject_claim} names no user.", credentials_sent=True
            )
        values = _string_values(_resolve_claim(claims, self.role_claim))
        role = highest_role({self.roles[value] for value in values if value in self.roles})
        return Identity(f"jwt:{subject}", role, self._map_project(claims, role))

    def _map_project(self, claims: Mapping[str, Any], role: Role | None) -> str:
        if self.project_claim is None:
            return self.default_project
        project = _resolve_claim(claims, self.project_claim)
        if isinstance(project, str) and PROJECT_NAME_PATTERN.fullmatch(project):
            return project
        if project is None and role is Role.ADMIN:
            return self.default_project
        raise Unauthenticated(
            f"This token's claim {self.project_claim} names no project.", credentials_sent=True
        )


def _resolve_claim(claims: Mapping[str, Any], claim: str) -> Any:
    if not claim.startswith("/"):
        return claims.get(claim)
    value: Any = claims
    for part in claim[1:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _string_values(value: Any) -> list[str]:
    if isinstance(value, str):
        # a scope: RFC 6749, section 3.3
        return value.split(" ")
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
