"""Build the authenticator that the settings describe."""

from collections.abc import Callable
from datetime import datetime

import structlog

from vmapi.auth.api_tokens import ApiTokenValidator
from vmapi.auth.authenticator import Authenticator, KeystoneTokenValidator, TokenValidator
from vmapi.domain.access.api_token import ApiToken
from vmapi.domain.access.identity import anonymous
from vmapi.settings.settings import Settings
from vmapi.settings.tls import SYSTEM_TLS, TLSOptions, check_tls_files

log = structlog.get_logger("vmapi.security")


def warn_if_anonymous(settings: Settings) -> None:
    """Log a warning where requests need no token."""
    if "none" in settings.auth_schemes:
        log.warning("VMAPI_AUTH=none: requests need no token, and everybody may do everything")


def build_authenticator(
    settings: Settings,
    find_token: Callable[[str], ApiToken | None],
    record_use: Callable[[str, datetime], None],
    clock: Callable[[], datetime],
    *,
    cloud_tls: Callable[[str], TLSOptions | None] = lambda _: None,
) -> Authenticator:
    """Build the authenticator; `find_token` and `record_use` access API tokens in the database.

    `cloud_tls` returns the TLS options for the URL of the cloud's own Keystone. Raises
    SettingsError for a file of CA certificates that cannot be used.
    """
    builders: dict[str, Callable[[], TokenValidator]] = {
        "token": lambda: ApiTokenValidator(find_token, record_use, clock),
        "jwt": lambda: _build_jwt_validator(settings),
    }
    schemes = settings.auth_schemes
    validators = {scheme: build() for scheme, build in builders.items() if scheme in schemes}
    keystone_validator = None
    if "keystone" in schemes:
        # the last one: it matches tokens of every form
        keystone_validator = _build_keystone_validator(settings, cloud_tls)
        validators["keystone"] = keystone_validator
    return Authenticator(
        list(validators.values()),
        anonymous_identity=anonymous(settings.default_project) if "none" in schemes else None,
        allow_remote_anonymous=settings.allow_anonymous,
        keystone_validator=keystone_validator,
    )


def _build_jwt_validator(settings: Settings) -> TokenValidator:
    # loads cryptography, which no other scheme needs
    from vmapi.auth.claim_mapping import ClaimMapping
    from vmapi.auth.jwt_tokens import JwtValidator
    from vmapi.auth.oidc_issuer import OIDCIssuer

    url, audience = settings.jwt_issuer or "", settings.jwt_audience or ""
    claim_mapping = ClaimMapping(
        subject_claim=settings.jwt_subject_claim,
        role_claim=settings.jwt_role_claim,
        roles=settings.jwt_roles,
        project_claim=settings.jwt_project_claim,
        default_project=settings.default_project,
    )
    return JwtValidator(
        OIDCIssuer(url, slots=max(1, settings.threads // 4)),
        claim_mapping,
        url=url,
        audience=audience,
        algorithms=settings.jwt_algorithms,
        types=settings.jwt_types,
        leeway=settings.jwt_leeway,
    )


def _build_keystone_validator(
    settings: Settings, cloud_tls: Callable[[str], TLSOptions | None]
) -> KeystoneTokenValidator:
    # loads requests
    from vmapi.auth.keystone_tokens import KeystoneValidator

    url = settings.keystone_url or settings.openstack_auth_url or ""
    slots = max(1, settings.threads // 2)
    if settings.keystone_cacert:
        tls = TLSOptions(settings.keystone_cacert)
    else:
        tls = cloud_tls(url) or SYSTEM_TLS
    check_tls_files(tls)
    return KeystoneValidator(url, settings.keystone_roles, tls=tls, slots=slots)
