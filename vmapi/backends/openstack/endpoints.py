"""Where a service is, and how it is spoken to."""

from dataclasses import dataclass
from typing import Literal

from openstack.connection import Connection
from openstack.exceptions import ServiceDiscoveryException
from openstack.proxy import Proxy

from vmapi.errors import BackendError

Service = Literal["compute", "image", "network"]

NEWEST = (2, 84)
"""The compute microversion we are written for: 2.84 shows why an action failed."""
OLDEST = (2, 52)
"""From here on a server can be created with tags, by which a lost create is found."""


@dataclass(frozen=True, slots=True)
class Door:
    """A service as it was discovered: where it is, and which microversion is spoken to it.

    `project` is the id of the one that it was discovered for.
    """

    proxy: Proxy
    url: str
    microversion: str | None
    project: str | None


def discover(connection: Connection, service: Service) -> Door:
    """Ask for a service where it is, and which microversions it speaks. Raises BackendError."""
    proxy = getattr(connection, service)
    found = proxy.get_endpoint_data()
    if found is None or found.api_version is None:
        raise ServiceDiscoveryException(f"no version of {service} was found")
    microversion = _pinned(found.max_microversion) if service == "compute" else None
    return Door(proxy, found.url.rstrip("/"), microversion, proxy.get_project_id())


def _pinned(offered: tuple[int, ...] | None) -> str:
    if not offered:
        raise ServiceDiscoveryException("the compute service did not tell its microversions")
    if tuple(offered) < OLDEST:
        spoken, needed = (".".join(map(str, version)) for version in (offered, OLDEST))
        raise BackendError(f"The cloud's Nova speaks {spoken} at most; vmapi needs {needed}.")
    return ".".join(map(str, min(tuple(offered), NEWEST)))
