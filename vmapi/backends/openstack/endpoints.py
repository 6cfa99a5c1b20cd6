"""Where a service is, and how it is spoken to."""

from dataclasses import dataclass
from typing import Literal

from openstack.connection import Connection
from openstack.exceptions import ServiceDiscoveryException
from openstack.proxy import Proxy

from vmapi.errors import BackendError

ServiceType = Literal["compute", "image", "network"]

MAX_MICROVERSION = (2, 84)
"""The compute microversion we are written for: 2.84 shows why an action failed."""
MIN_MICROVERSION = (2, 52)
"""From here on a server can be created with tags, by which a lost create is found."""


@dataclass(frozen=True, slots=True)
class ServiceEndpoint:
    """A service as it was discovered: where it is, and which microversion is spoken to it.

    `project` is the id of the one that it was discovered for.
    """

    proxy: Proxy
    url: str
    microversion: str | None
    project_id: str | None


def discover_endpoint(connection: Connection, service: ServiceType) -> ServiceEndpoint:
    """Ask for a service where it is, and which microversions it speaks. Raises BackendError."""
    proxy = getattr(connection, service)
    found = proxy.get_endpoint_data()
    if found is None or found.api_version is None:
        raise ServiceDiscoveryException(f"no version of {service} was found")
    microversion = _negotiate_microversion(found.max_microversion) if service == "compute" else None
    return ServiceEndpoint(proxy, found.url.rstrip("/"), microversion, proxy.get_project_id())


def _negotiate_microversion(max_offered: tuple[int, ...] | None) -> str:
    if not max_offered:
        raise ServiceDiscoveryException("the compute service did not tell its microversions")
    if tuple(max_offered) < MIN_MICROVERSION:
        spoken, needed = (
            ".".join(map(str, version)) for version in (max_offered, MIN_MICROVERSION)
        )
        raise BackendError(f"The cloud's Nova speaks {spoken} at most; vmapi needs {needed}.")
    return ".".join(map(str, min(tuple(max_offered), MAX_MICROVERSION)))
