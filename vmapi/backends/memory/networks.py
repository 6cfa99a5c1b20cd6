"""The networks of this cloud and the addresses that they give."""

from collections import deque
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from types import MappingProxyType

from vmapi.backends.memory.catalog import stable_id
from vmapi.domain.catalog import Network
from vmapi.domain.vm import Address
from vmapi.errors import SettingsError

NETWORK_RANGES: Mapping[str, IPv4Network] = MappingProxyType(
    {"private": IPv4Network("10.0.0.0/16"), "public": IPv4Network("203.0.113.0/24")}
)


class Subnet:
    """A network with the addresses that are still free; the first one is the gateway's."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._unused = NETWORK_RANGES[network.name].hosts()
        self._gateway = next(self._unused)
        self._released: deque[IPv4Address] = deque()

    def allocate(self) -> Address | None:
        """Give an address, one never used before if there is any; None when all are taken."""
        ip = next(self._unused, None) or (self._released.popleft() if self._released else None)
        return Address(self.network.name, str(ip), 4, "fixed") if ip else None

    def release(self, address: Address) -> None:
        """Take an address back."""
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
