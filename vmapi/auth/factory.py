"""The gate that the settings ask for."""

from collections.abc import Callable
from datetime import datetime

import structlog

from vmapi.auth.api_tokens import ApiTokenValidator
from vmapi.auth.authenticator import Authenticator, TokenValidator
from vmapi.domain.api_token import ApiToken
from vmapi.domain.identity import anonymous
from vmapi.settings.settings import Settings

log = structlog.get_logger("vmapi.security")


def warn_if_anonymous(settings: Settings) -> None:
    """Say in the log where everybody is let in."""
    if "none" in settings.auth_schemes:
        log.warning("VMAPI_AUTH=none: nobody is asked who it is, and everybody may do everything")


def build_authenticator(
    settings: Settings,
    find_token: Callable[[str], ApiToken | None],
    record_use: Callable[[str, datetime], None],
    clock: Callable[[], datetime],
) -> Authenticator:
    """Return the gate; `find` and `used` are about API tokens."""
    made: dict[str, Callable[[], TokenValidator]] = {
        "token": lambda: ApiTokenValidator(find_token, record_use, clock),
        "jwt": lambda: _build_jwt_validator(settings),
        # the last: it cannot tell by the form of a token that it is none of its
        "keystone": lambda: _build_keystone_validator(settings),
    }
    schemes = settings.auth_schemes
    validators = {scheme: make() for scheme, make in made.items() if scheme in schemes}
    return Authenticator(
        list(validators.values()),
        anonymous_identity=anonymous(settings.default_project) if "none" in schemes else None,
        allow_remote_anonymous=settings.allow_anonymous,
        keystone_validator=validators.get("keystone"),
    )


def _build_jwt_validator(settings: Settings) -> TokenValidator:
    # loads cryptography, which nothing else needs
    from vmapi.auth.claim_mapping import ClaimMapping
    from vmapi.auth.jwt_tokens import JwtValidator
    from vmapi.auth.oidc_issuer import OIDCIssuer

    url, audience = settings.jwt_issuer or "", settings.jwt_audience or ""
    claims = ClaimMapping(
        subject_claim=settings.jwt_subject_claim,
        role_claim=settings.jwt_role_claim,
        roles=settings.jwt_roles,
        project_claim=settings.jwt_project_claim,
        default_project=settings.default_project,
    )
    return JwtValidator(
        OIDCIssuer(url),
        claims,
        url=url,
        audience=audience,
        algorithms=settings.jwt_algorithms,
        types=settings.jwt_types,
        leeway=settings.jwt_leeway,
    )


def _build_keystone_validator(settings: Settings) -> TokenValidator:
    # loads requests
    from vmapi.auth.keystone_tokens import KeystoneValidator

    url = settings.keystone_url or settings.openstack_auth_url or ""
    return KeystoneValidator(url, settings.keystone_roles)
