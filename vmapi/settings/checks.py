"""What the settings must not ask for. Loads nothing: gunicorn looks before it binds."""

from vmapi.errors import SettingsError
from vmapi.settings.settings import Settings


def validate(settings: Settings, *, single_process: bool) -> None:
    """Raise SettingsError where the settings would let in whom they should not, or nobody.

    The database of a backend of a `single_process` goes with that, unless the settings name one.
    """
    schemes = settings.auth_schemes
    if "none" in schemes and not (settings.is_on_loopback or settings.allow_anonymous):
        raise SettingsError(
            f"VMAPI_AUTH none at VMAPI_BIND {settings.bind}: everybody who reaches it may do "
            "everything; set VMAPI_AUTH=token, or a VMAPI_BIND on loopback, or "
            "VMAPI_ALLOW_ANONYMOUS=true if this is meant"
        )
    if "jwt" in schemes and not (settings.jwt_issuer and settings.jwt_audience):
        raise SettingsError(
            "VMAPI_AUTH jwt: set VMAPI_JWT_ISSUER, the issuer's URL, and VMAPI_JWT_AUDIENCE, what "
            "its tokens for vmapi say in aud"
        )
    if "keystone" in schemes and not (settings.keystone_url or settings.openstack_auth_url):
        raise SettingsError(
            "VMAPI_AUTH keystone: set VMAPI_KEYSTONE_URL, where its tokens are from"
        )
    if "token" in schemes and single_process and settings.database_url is None:
        raise SettingsError(
            "VMAPI_AUTH token: tokens are kept in the database, and here that goes with the "
            "process; set VMAPI_DATABASE_URL=sqlite:////PATH, or on loopback VMAPI_AUTH=none"
        )
