"""What an issuer says of a caller, in the terms of this API."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vmapi.domain.identity import PROJECT, SUBJECT, Identity
from vmapi.domain.roles import Role, greatest
from vmapi.errors import Unauthenticated


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Which claims tell what: each by its name, or its place where it begins with /: RFC 6901."""

    subject: str
    role: str
    roles: Mapping[str, Role]
    project: str | None
    default_project: str

    def identity(self, claims: Mapping[str, Any]) -> Identity:
        """Return whose the claims are. Raises Unauthenticated where they do not say."""
        subject = _at(claims, self.subject)
        if not isinstance(subject, str) or not subject or not SUBJECT.fullmatch(f"jwt:{subject}"):
            raise Unauthenticated(f"This token's claim {self.subject} names nobody.", sent=True)
        values = _texts(_at(claims, self.role))
        role = greatest({self.roles[value] for value in values if value in self.roles})
        return Identity(f"jwt:{subject}", role, self._project(claims, role))

    def _project(self, claims: Mapping[str, Any], role: Role | None) -> str:
        if self.project is None:
            return self.default_project
        project = _at(claims, self.project)
        if isinstance(project, str) and PROJECT.fullmatch(project):
            return project
        if project is None and role is Role.ADMIN:
            return self.default_project
        raise Unauthenticated(f"This token's claim {self.project} names no project.", sent=True)


def _at(claims: Mapping[str, Any], place: str) -> Any:
    if not place.startswith("/"):
        return claims.get(place)
    found: Any = claims
    for step in place[1:].split("/"):
        found = (
            found.get(step.replace("~1", "/").replace("~0", "~"))
            if isinstance(found, dict)
            else None
        )
    return found


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        # RFC 6749, section 3.3: a scope
        return value.split(" ")
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
