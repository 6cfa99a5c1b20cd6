"""What an issuer says of a caller, in the terms of this API."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vmapi.domain.identity import SUBJECT_PATTERN, Identity
from vmapi.domain.project import PROJECT_NAME_PATTERN
from vmapi.domain.roles import Role, highest_role
from vmapi.errors import Unauthenticated


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimMapping:
    """Which claims tell what: each by its name, or its place where it begins with /: RFC 6901."""

    subject_claim: str
    role_claim: str
    roles: Mapping[str, Role]
    project_claim: str | None
    default_project: str

    def to_identity(self, claims: Mapping[str, Any]) -> Identity:
        """Return whose the claims are. Raises Unauthenticated where they do not say."""
        subject = _resolve_claim(claims, self.subject_claim)
        if (
            not isinstance(subject, str)
            or not subject
            or not SUBJECT_PATTERN.fullmatch(f"jwt:{subject}")
        ):
            raise Unauthenticated(
                f"This token's claim {self.subject_claim} names nobody.", credentials_sent=True
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
    found: Any = claims
    for step in claim[1:].split("/"):
        found = (
            found.get(step.replace("~1", "/").replace("~0", "~"))
            if isinstance(found, dict)
            else None
        )
    return found


def _string_values(value: Any) -> list[str]:
    if isinstance(value, str):
        # RFC 6749, section 3.3: a scope
        return value.split(" ")
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
