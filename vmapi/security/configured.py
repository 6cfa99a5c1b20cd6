"""The gate that the settings ask for."""

from collections.abc import Callable
from datetime import datetime

import structlog

from vmapi.errors import SettingsError
from vmapi.models.api_token import ApiToken
from vmapi.security.api_tokens import ApiTokens
from vmapi.security.gate import Gate, Validator
from vmapi.settings import Settings

log = structlog.get_logger("vmapi.security")


def check(settings: Settings, *, database_lasts: bool) -> None:
    """Raise SettingsError where the settings would let in whom they should not, or nobody.

    Warns where everybody is let in.
    """
    schemes = settings.auth_schemes
    if "none" in schemes:
        if not (settings.on_loopback or settings.allow_anonymous):
            raise SettingsError(
                f"VMAPI_AUTH none at VMAPI_BIND {settings.bind}: everybody who reaches it may do "
                "everything; set VMAPI_AUTH=token, or a VMAPI_BIND on loopback, or "
                "VMAPI_ALLOW_ANONYMOUS=true if this is meant"
            )
        log.warning("VMAPI_AUTH=none: nobody is asked who it is, and everybody may do everything")
    if "jwt" in schemes and not (settings.jwt_issuer and settings.jwt_audience):
        raise SettingsError(
            "VMAPI_AUTH jwt: set VMAPI_JWT_ISSUER, the issuer's URL, and VMAPI_JWT_AUDIENCE, what "
            "its tokens for vmapi say in aud"
        )
    if "token" in schemes and not database_lasts:
        raise SettingsError(
            "VMAPI_AUTH token: tokens are kept in the database, and here that goes with the "
            "process; set VMAPI_DATABASE_URL=sqlite:////PATH, or on loopback VMAPI_AUTH=none"
        )


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
    }
    schemes = settings.auth_schemes
    return Gate(
        [make() for scheme, make in made.items() if scheme in schemes],
        anonymous="none" in schemes,
        from_anywhere=settings.allow_anonymous,
    )


def _jwt(settings: Settings) -> Validator:
    # loads cryptography, which nothing else needs
    from vmapi.security.claims import Claims, parse_roles
    from vmapi.security.issuer import Issuer
    from vmapi.security.jwt_tokens import JwtTokens

    url, audience = settings.jwt_issuer or "", settings.jwt_audience or ""
    claims = Claims(
        subject=settings.jwt_subject_claim,
        role=settings.jwt_role_claim,
        roles=parse_roles(settings.jwt_roles),
        project=settings.jwt_project_claim,
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
