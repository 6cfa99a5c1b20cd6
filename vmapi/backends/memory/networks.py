"""The networks of the in-memory cloud and their address pools."""

from collections import deque
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from types import MappingProxyType

from vmapi.backends.memory.catalog import stable_id
from vmapi.domain.catalog import Network
from vmapi.domain.vm import Address
from vmapi.errors import SettingsError

NETWORK_RANGES: Mapping[str, IPv4Network] = MappingProxyType(
    {"private": IPv4Network("198.18.0.0/15"), "public": IPv4Network("203.0.113.0/24")}
)
"""Ranges for benchmarks (RFC 2544) and documentation (RFC 5737): no host has such an address."""


class Subnet:
    """A network and its free addresses; the first address belongs to the gateway."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._never_used = NETWORK_RANGES[network.name].hosts()
        next(self._never_used)
        self._released: deque[IPv4Address] = deque()

    def allocate(self) -> Address | None:
        """Allocate an address, if possible a new one; None if all are in use."""
        ip = next(self._never_used, None) or (self._released.popleft() if self._released else None)
        return Address(self.network.name, str(ip), 4, "fixed") if ip else None

    def release(self, address: Address) -> None:
        """Return an address to the pool."""
        self._released.append(IPv4Address(address.ip))


def build_subnets(default_network: str | None) -> dict[str, Subnet]:
    """Make the networks, by id; `default` is a name or id. Raises SettingsError."""
    chosen = default_network or "private"
    if chosen not in {*NETWORK_RANGES, *map(stable_id, NETWORK_RANGES)}:
        raise SettingsError(
            f"VMAPI_DEFAULT_NETWORK {chosen!r}: allowed is {', '.join(NETWORK_RANGES)}"
        )
    networks = (
        Network(stable_id(name), name, default=chosen in (name, stable_id(name)))
        for name in NETWORK_RANGES
    )
    return {network.id: Subnet(network) for network in networks}
