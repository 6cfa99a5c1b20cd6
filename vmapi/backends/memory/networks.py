"""The networks of this cloud and the addresses that they give."""

from collections import deque
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from types import MappingProxyType

from vmapi.backends.memory.catalog import stable_id
from vmapi.domain.catalog import Network
from vmapi.domain.vm import Address
from vmapi.errors import SettingsError

SUBNETS: Mapping[str, IPv4Network] = MappingProxyType(
    {"private": IPv4Network("10.0.0.0/16"), "public": IPv4Network("203.0.113.0/24")}
)


class Subnet:
    """A network with the addresses that are still free; the first one is the gateway's."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._unused = SUBNETS[network.name].hosts()
        self._gateway = next(self._unused)
        self._freed: deque[IPv4Address] = deque()

    def take(self) -> Address | None:
        """Give an address, one never used before if there is any; None when all are taken."""
        ip = next(self._unused, None) or (self._freed.popleft() if self._freed else None)
        return Address(self.network.name, str(ip), 4, "fixed") if ip else None

    def free(self, address: Address) -> None:
        """Take an address back."""
        self._freed.append(IPv4Address(address.ip))


def subnets(default: str | None) -> dict[str, Subnet]:
    """Make the networks, by id; `default` is a name or id. Raises SettingsError."""
    chosen = default or "private"
    if chosen not in {*SUBNETS, *map(stable_id, SUBNETS)}:
        raise SettingsError(f"VMAPI_DEFAULT_NETWORK {chosen!r}: allowed is {', '.join(SUBNETS)}")
    networks = (
        Network(stable_id(name), name, default=chosen in (name, stable_id(name)))
        for name in SUBNETS
    )
    return {network.id: Subnet(network) for network in networks}
