"""Sending a call with somebody else's token, to where the service is for vmapi itself."""

from typing import Any
from urllib.parse import urlsplit

from vmapi.backends.openstack.endpoints import Door
from vmapi.domain.credential import Credential

REFUSED = "The cloud does not take this Keystone token: it has expired, or was revoked."


def address(door: Door, credential: Credential) -> str:
    """Return where a service is for another project: some clouds have a project's id in it."""
    parts = urlsplit(door.url)
    path = [credential.project if part == door.project else part for part in parts.path.split("/")]
    return parts._replace(path="/".join(path)).geturl()


def arguments(credential: Credential) -> dict[str, Any]:
    """Return what keystoneauth is told, so that it neither logs in nor logs the token."""
    return {
        "headers": {"X-Auth-Token": credential.token},
        "authenticated": False,
        "log": False,
    }
