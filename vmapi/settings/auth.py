"""The settings of who is let in: docs/security.md."""

import re
from dataclasses import dataclass
from typing import Any

from environs import validate

from vmapi.settings.field import setting

AUTH_SCHEMES = ("none", "token", "jwt", "keystone")
JWT_SIGNATURE_ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""Those with two keys. With a secret that both sides have, whoever verifies could also sign."""

LOOPBACK_URL = r"http://(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?"
ISSUER_URL = re.compile(rf"(https://[^/?#\s@]+|{LOOPBACK_URL})(/[^?#\s]*)?\Z")
ROLE_PATTERN = "(viewer|operator|admin)"
DEFAULT_JWT_ROLES = "viewer=viewer,operator=operator,admin=admin"
DEFAULT_KEYSTONE_ROLES = "reader=viewer,member=operator,admin=admin"


def _comma_list(item_pattern: str) -> Any:
    return validate.Regexp(rf"{item_pattern}(,{item_pattern})*\Z")


def _claim_setting(name: str, default: str | None) -> Any:
    allowed = "the name of a claim, or where it is: /a/b (RFC 6901)"
    return setting(name, default, allowed, check=validate.Length(1, 255))


def _role_mapping_setting(name: str, default: str) -> Any:
    return setting(
        name,
        default,
        "VALUE=ROLE,… with viewer, operator or admin",
        check=_comma_list(rf"[^,=]+={ROLE_PATTERN}"),
    )


@dataclass(frozen=True, kw_only=True)
class AuthSettings:
    """Who is let in, and as what."""

    auth: str | None = setting(
        "VMAPI_AUTH",
        None,
        f"one or several of {', '.join(AUTH_SCHEMES)}, with commas between",
        check=_comma_list(f"({'|'.join(AUTH_SCHEMES)})"),
    )
    allow_anonymous: bool = setting("VMAPI_ALLOW_ANONYMOUS", False, "true or false", "bool")
    jwt_issuer: str | None = setting(
        "VMAPI_JWT_ISSUER",
        None,
        "an https URL, on loopback also http, without query and fragment",
        check=validate.Regexp(ISSUER_URL),
    )
    jwt_audience: str | None = setting(
        "VMAPI_JWT_AUDIENCE", None, "a text that is not empty", check=validate.Length(1, 255)
    )
    jwt_algorithms: str = setting(
        "VMAPI_JWT_ALGORITHMS",
        "RS256,PS256,ES256",
        f"one or several of {', '.join(JWT_SIGNATURE_ALGORITHMS)}, with commas between",
        check=_comma_list(f"({'|'.join(JWT_SIGNATURE_ALGORITHMS)})"),
    )
    jwt_types: str = setting(
        "VMAPI_JWT_TYPES",
        "at+jwt",
        "media types without application/, with commas between",
        check=_comma_list(r"[A-Za-z0-9.+-]+"),
    )
    jwt_leeway: int = setting(
        "VMAPI_JWT_LEEWAY", 10, "seconds, 0 to 120", "int", validate.Range(0, 120)
    )
    jwt_subject_claim: str = _claim_setting("VMAPI_JWT_SUBJECT_CLAIM", "sub")
    jwt_role_claim: str = _claim_setting("VMAPI_JWT_ROLE_CLAIM", "roles")
    jwt_roles: str = _role_mapping_setting("VMAPI_JWT_ROLES", DEFAULT_JWT_ROLES)
    jwt_project_claim: str | None = _claim_setting("VMAPI_JWT_PROJECT_CLAIM", None)
    keystone_url: str | None = setting(
        "VMAPI_KEYSTONE_URL",
        None,
        "an http or https URL",
        check=validate.URL(schemes={"http", "https"}, require_tld=False),
    )
    keystone_roles: str = _role_mapping_setting("VMAPI_KEYSTONE_ROLES", DEFAULT_KEYSTONE_ROLES)
