"""The endpoints of the cloud's services: discovery and microversion.

Keystone API v3 "Service catalog", and the version documents of each service (Nova API
"API versions"). The session discovers each service once, and checks the microversion of each
response: a proxy that removes `OpenStack-API-Version` makes Nova answer in the oldest one, in which
servers have no tags and creates are refused.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import requests
from openstack.connection import Connection
from openstack.exceptions import ServiceDiscoveryException
from openstack.proxy import Proxy

from vmapi.domain.access.identity import CallerToken
from vmapi.errors import BackendError

ServiceType = Literal["compute", "image", "network"]

MAX_MICROVERSION = (2, 84)
"""The compute microversion that the driver is written for: 2.84 shows why an action failed."""

MIN_MICROVERSION = (2, 52)
"""The oldest usable microversion: servers with tags, by which a lost create is found."""

MICROVERSION_HEADER = "OpenStack-API-Version"

OLD_FLAVOR_PATTERN = re.compile(rb'"flavor": ?\{[^{}]*"id"')
"""The flavor of a server before microversion 2.47."""

UNKNOWN_MEMBER_MESSAGE = b"Additional properties are not allowed"
"""How an old microversion refuses a member of a newer one."""

CREDENTIALS_REFUSED_DETAIL = (
    "The cloud refuses this Keystone token: it has expired, or was revoked."
)


@dataclass(frozen=True, slots=True)
class ServiceEndpoint:
    """A discovered service."""

    proxy: Proxy
    url: str
    microversion: str | None
    """The microversion of every request; None for a service without microversions."""
    project_id: str | None
    """The project that the endpoint was discovered for."""

    def url_for_project(self, project_id: str) -> str:
        """Return the URL for another project: in some clouds the path has the project id."""
        parts = urlsplit(self.url)
        path = [project_id if part == self.project_id else part for part in parts.path.split("/")]
        return parts._replace(path="/".join(path)).geturl()


def discover_endpoint(connection: Connection, service: ServiceType) -> ServiceEndpoint:
    """Discover the URL and the microversion of a service.

    Raises BackendError when Nova is too old, and SDK errors when the discovery fails.
    """
    proxy = getattr(connection, service)
    endpoint = proxy.get_endpoint_data()
    if endpoint is None or endpoint.api_version is None:
        raise ServiceDiscoveryException(f"no version of {service} was found")
    microversion = (
        _negotiate_microversion(endpoint.max_microversion) if service == "compute" else None
    )
    return ServiceEndpoint(proxy, endpoint.url.rstrip("/"), microversion, proxy.get_project_id())


def check_microversion(response: requests.Response, requested: str) -> None:
    """Raise BackendError for a response to another microversion than the requested one.

    A change that Nova has accepted counts as accepted in any microversion. Without the header, the
    content of the response decides.
    """
    is_read = response.status_code < 300 and response.request.method == "GET"
    if not is_read and response.status_code != 400:
        return
    microversion = response.headers.get(MICROVERSION_HEADER)
    if microversion is None:
        is_other, subject = _is_old_format(response.content), "Nova names no microversion"
    else:
        is_other = microversion.strip().lower() != f"compute {requested}"
        subject = f"Nova answers in microversion {microversion.strip()}"
    if is_other:
        raise BackendError(
            f"{subject}, and {requested} was requested: a proxy in front of it may remove the "
            f"header {MICROVERSION_HEADER}."
        )


def _is_old_format(content: bytes) -> bool:
    if UNKNOWN_MEMBER_MESSAGE in content:
        return True
    return b'"original_name"' not in content and OLD_FLAVOR_PATTERN.search(content) is not None


def delegated_request_options(caller_token: CallerToken) -> dict[str, Any]:
    """Return the keystoneauth options of a request with a caller's token.

    keystoneauth then neither logs in nor writes the token to its log.
    """
    return {
        "headers": {"X-Auth-Token": caller_token.value},
        "authenticated": False,
        "log": False,
    }


def _negotiate_microversion(max_offered: tuple[int, ...] | None) -> str:
    if not max_offered:
        raise ServiceDiscoveryException("the compute service did not list its microversions")
    if tuple(max_offered) < MIN_MICROVERSION:
        offered, needed = (
            ".".join(map(str, version)) for version in (max_offered, MIN_MICROVERSION)
        )
        raise BackendError(f"The cloud's Nova speaks {offered} at most; vmapi needs {needed}.")
    return ".".join(map(str, min(tuple(max_offered), MAX_MICROVERSION)))
