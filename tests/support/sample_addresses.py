"""The address ranges for samples: no script that connects to such an address reaches a host."""

from ipaddress import ip_address, ip_network

SAMPLE_RANGES = [
    ip_network(text)
    for text in (
        *("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"),  # RFC 5737
        "198.18.0.0/15",  # RFC 2544
        "2001:db8::/32",  # RFC 3849
    )
]


def is_reserved_for_samples(address: str) -> bool:
    """Return whether an address is from a range for documentation or benchmarks."""
    return any(ip_address(address) in network for network in SAMPLE_RANGES)
