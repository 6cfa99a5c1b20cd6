"""The gate that the settings ask for."""

from collections.abc import Callable
from datetime import datetime

import structlog

from vmapi.auth.api_tokens import ApiTokens
from vmapi.auth.authenticator import Gate, Validator
from vmapi.domain.api_token import ApiToken
from vmapi.domain.identity import anonymous
from vmapi.domain.roles import parse as parse_roles
from vmapi.settings.settings import Settings

log = structlog.get_logger("vmapi.security")


def warn(settings: Settings) -> None:
    """Say in the log where everybody is let in."""
    if "none" in settings.auth_schemes:
        log.warning("VMAPI_AUTH=none: nobody is asked who it is, and everybody may do everything")


def gate(
    settings: Settings,
    find: Callable[[str], ApiToken | None],
    used: Callable[[str, datetime], None],
    clock: Callable[[], datetime],
) -> Gate:
    """Return the gate; `find` and `used` are about API tokens."""
    made: dict[str, Callable[[], Validator]] = {
        "token": lambda: ApiTokens(find, used, clock),
        "jwt": lambda: _jwt(settings),
        # the last: it cannot tell by the form of a token that it is none of its
        "keystone": lambda: _keystone(settings),
    }
    schemes = settings.auth_schemes
    validators = {scheme: make() for scheme, make in made.items() if scheme in schemes}
    return Gate(
        list(validators.values()),
        anonymous=anonymous(settings.default_project) if "none" in schemes else None,
        from_anywhere=settings.allow_anonymous,
        keystone=validators.get("keystone"),
    )


def _jwt(settings: Settings) -> Validator:
    # loads cryptography, which nothing else needs
    from vmapi.auth.claim_mapping import Claims
    from vmapi.auth.jwt_tokens import JwtTokens
    from vmapi.auth.oidc_issuer import Issuer

    url, audience = settings.jwt_issuer or "", settings.jwt_audience or ""
    claims = Claims(
        subject=settings.jwt_subject_claim,
        role=settings.jwt_role_claim,
        roles=parse_roles(settings.jwt_roles),
        project=settings.jwt_project_claim,
        default_project=settings.default_project,
    )
    return JwtTokens(
        Issuer(url),
        claims,
        url=url,
        audience=audience,
        algorithms=settings.jwt_algorithms.split(","),
        types=settings.jwt_types.split(","),
        leeway=settings.jwt_leeway,
    )


def _keystone(settings: Settings) -> Validator:
    # loads requests
    from vmapi.auth.keystone_tokens import KeystoneTokens

    url = settings.keystone_url or settings.openstack_auth_url or ""
    return KeystoneTokens(url, parse_roles(settings.keystone_roles))
