"""Settings of authentication: token types, OpenID Connect issuer, Keystone, role mappings."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from vmapi.domain.access.roles import Role
from vmapi.settings.declaration import ValueFormat, setting
from vmapi.settings.parsing import boolean, comma_list, integer_seconds, matching
from vmapi.settings.patterns import HTTP_URL, ISSUER_URL

AUTH_SCHEMES = ("none", "token", "jwt", "keystone")

#: Asymmetric algorithms only: a verifier that shares a secret with the issuer could sign tokens.
JWT_SIGNATURE_ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)


def parse_role_mapping(text: str) -> Mapping[str, Role]:
    """Parse the role for each value of a claim: `VALUE=ROLE,…`. Raises ValueError."""
    pairs = [re.fullmatch(r"([^,=]+)=([a-z]+)", pair) for pair in text.split(",")]
    if not all(pairs):
        raise ValueError(text)
    return MappingProxyType({pair[1]: Role(pair[2]) for pair in pairs if pair})


def _render_role_mapping(roles: Mapping[str, Role]) -> str:
    return ",".join(f"{name}={role}" for name, role in roles.items())


ROLE_MAPPING = ValueFormat(
    f"VALUE=ROLE,… with {', '.join(Role)}", parse_role_mapping, _render_role_mapping
)
CLAIM = matching(
    "(?s:.{1,255})", "the name of a claim, or the JSON pointer of one: /a/b (RFC 6901)"
)


def _names(values: Sequence[str]) -> ValueFormat[tuple[str, ...]]:
    allowed = f"one or several of {', '.join(values)}, separated by commas"
    return comma_list(f"({'|'.join(values)})", allowed)


@dataclass(frozen=True, kw_only=True)
class AuthSettings:
    """How callers authenticate, and which roles they get."""

    auth: tuple[str, ...] = setting(
        "VMAPI_AUTH",
        _names(AUTH_SCHEMES),
        "",
        "How callers authenticate: with API tokens of vmapi (`token`), access tokens of an OpenID "
        "Connect issuer (`jwt`), Keystone tokens (`keystone`), or not at all (`none`). Unset: "
        "`token`; for the memory cloud on loopback `none`.",
        unset=(),
        example="token",
    )
    allow_anonymous: bool = setting(
        "VMAPI_ALLOW_ANONYMOUS",
        boolean(),
        "false",
        "`true` permits `VMAPI_AUTH=none` on addresses that other machines reach, and requests "
        "without a token from other machines.",
    )
    jwt_issuer: str | None = setting(
        "VMAPI_JWT_ISSUER",
        matching(ISSUER_URL, "an https URL, on loopback also http, without query and fragment"),
        "",
        "For `jwt`: the URL of the issuer, as its tokens have it in `iss`.",
        example="https://sso.example.org/realms/cloud",
    )
    jwt_audience: str | None = setting(
        "VMAPI_JWT_AUDIENCE",
        matching("(?s:.{1,255})", "a text that is not empty"),
        "",
        "For `jwt`: the value that tokens for vmapi have in `aud`.",
        example="https://vmapi.example.org",
    )
    jwt_algorithms: tuple[str, ...] = setting(
        "VMAPI_JWT_ALGORITHMS",
        _names(JWT_SIGNATURE_ALGORITHMS),
        "RS256,PS256,ES256",
        "For `jwt`: the accepted signature algorithms.",
    )
    jwt_types: tuple[str, ...] = setting(
        "VMAPI_JWT_TYPES",
        comma_list(r"[A-Za-z0-9.+-]+", "media types without application/, separated by commas"),
        "at+jwt",
        "For `jwt`: the accepted values of `typ` in the header. An issuer that does not follow "
        "RFC 9068 may send `JWT`.",
    )
    jwt_leeway: int = setting(
        "VMAPI_JWT_LEEWAY",
        integer_seconds(0, 120),
        "10",
        "For `jwt`: the clock difference between the issuer and vmapi that is tolerated.",
    )
    jwt_subject_claim: str = setting(
        "VMAPI_JWT_SUBJECT_CLAIM", CLAIM, "sub", "For `jwt`: the claim with the user."
    )
    jwt_role_claim: str = setting(
        "VMAPI_JWT_ROLE_CLAIM",
        CLAIM,
        "roles",
        "For `jwt`: the claim with the roles: a list, or a text separated by spaces (`scope`).",
    )
    jwt_roles: Mapping[str, Role] = setting(
        "VMAPI_JWT_ROLES",
        ROLE_MAPPING,
        "viewer=viewer,operator=operator,admin=admin",
        "For `jwt`: the vmapi role for each value of the role claim. The highest role applies.",
    )
    jwt_project_claim: str | None = setting(
        "VMAPI_JWT_PROJECT_CLAIM",
        CLAIM,
        "",
        "For `jwt`: the claim with the project. Unset: every caller has the project of "
        "`VMAPI_DEFAULT_PROJECT`.",
        example="project",
    )
    keystone_url: str | None = setting(
        "VMAPI_KEYSTONE_URL",
        matching(HTTP_URL, "an http or https URL"),
        "",
        "For `keystone`: the Keystone that issues the tokens. Unset: `OPENSTACK_AUTH_URL`.",
        example="https://keystone.example.org/v3",
    )
    keystone_cacert: str | None = setting(
        "VMAPI_KEYSTONE_CACERT",
        matching(r"/(?s:.+)", "the absolute path of a file"),
        "",
        "For `keystone`: the CA certificates of that Keystone, in PEM. Unset: the TLS options of "
        "the cloud (`cacert`, `OS_CACERT` and so on) if the Keystone is the cloud's own, else the "
        "CAs of the system.",
        example="/etc/vmapi/keystone-ca.pem",
    )
    keystone_roles: Mapping[str, Role] = setting(
        "VMAPI_KEYSTONE_ROLES",
        ROLE_MAPPING,
        "reader=viewer,member=operator,admin=admin",
        "For `keystone`: the vmapi role for each Keystone role. The highest role applies.",
    )
