"""Checks of settings that depend on each other.

The app and gunicorn's configuration run them, the latter before it binds a socket: this module
imports no driver.
"""

from vmapi.errors import SettingsError
from vmapi.settings.settings import Settings


def validate(settings: Settings, *, single_process: bool) -> None:
    """Raise SettingsError where the settings of authentication contradict others.

    `single_process`: the backend lives in the memory of one process. Its default database is
    deleted when the process ends.
    """
    schemes = settings.auth_schemes
    if "none" in schemes and not (settings.is_on_loopback or settings.allow_anonymous):
        raise SettingsError(
            f"VMAPI_AUTH none at VMAPI_BIND {settings.bind}: every client that reaches it may do "
            "everything; set VMAPI_AUTH=token, or a VMAPI_BIND on loopback, or "
            "VMAPI_ALLOW_ANONYMOUS=true if this is meant"
        )
    if "jwt" in schemes and not (settings.jwt_issuer and settings.jwt_audience):
        raise SettingsError(
            "VMAPI_AUTH jwt: set VMAPI_JWT_ISSUER, the issuer's URL, and VMAPI_JWT_AUDIENCE, the "
            "value that its tokens for vmapi have in aud"
        )
    if "keystone" in schemes and not (settings.keystone_url or settings.openstack_auth_url):
        raise SettingsError(
            "VMAPI_AUTH keystone: set VMAPI_KEYSTONE_URL, the URL of the Keystone that issues the "
            "tokens"
        )
    if "token" in schemes and single_process and settings.database_url is None:
        raise SettingsError(
            "VMAPI_AUTH token: tokens are stored in the database, and here the database ends with "
            "the process; set VMAPI_DATABASE_URL=sqlite:////PATH, or on loopback VMAPI_AUTH=none"
        )
