"""Sending a call with somebody else's token, to where the service is for vmapi itself."""

from typing import Any
from urllib.parse import urlsplit

from vmapi.backends.openstack.endpoints import ServiceEndpoint
from vmapi.domain.identity import CallerToken

CREDENTIALS_REFUSED_DETAIL = (
    "The cloud does not take this Keystone token: it has expired, or was revoked."
)


def url_for_project(endpoint: ServiceEndpoint, caller_token: CallerToken) -> str:
    """Return where a service is for another project: some clouds have a project's id in it."""
    parts = urlsplit(endpoint.url)
    path = [
        caller_token.project if part == endpoint.project_id else part
        for part in parts.path.split("/")
    ]
    return parts._replace(path="/".join(path)).geturl()


def request_options(caller_token: CallerToken) -> dict[str, Any]:
    """Return what keystoneauth is told, so that it neither logs in nor logs the token."""
    return {
        "headers": {"X-Auth-Token": caller_token.value},
        "authenticated": False,
        "log": False,
    }
