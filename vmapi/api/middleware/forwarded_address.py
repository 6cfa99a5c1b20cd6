"""The client's address from `X-Forwarded-For`, as the trusted proxies wrote it.

Some proxies append the port, put the address in quotes or write `unknown`. Rate limits and the
audit trail need the address alone: otherwise each connection counts as another client.
"""

import re
from ipaddress import IPv6Address, ip_address
from typing import Any

from werkzeug.middleware.proxy_fix import ProxyFix

NODE_PORT = r"(?::(?:\d{1,5}|_[\w.-]+))?"
"""The port of a node (RFC 7239, section 6)."""

NODE_PATTERN = re.compile(
    rf"\[(?P<ipv6>[^\[\]]+)\]{NODE_PORT}|(?P<ipv4>\d+\.\d+\.\d+\.\d+){NODE_PORT}|(?P<bare>[^\[\]]+)",
    re.ASCII,
)


class ForwardedAddress:
    """WSGI middleware that sets `REMOTE_ADDR` to the address of the client.

    The last `proxies` entries are believed. An entry that is no address leaves the address of the
    peer.
    """

    def __init__(self, app: Any, proxies: int) -> None:
        self._app = app
        self._proxy_fix = ProxyFix(self._serve, x_for=proxies, x_proto=0, x_host=0)

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Serve a request."""
        return self._proxy_fix(environ, start_response)

    def _serve(self, environ: Any, start_response: Any) -> Any:
        peer = environ["werkzeug.proxy_fix.orig"]["REMOTE_ADDR"]
        forwarded = environ.get("REMOTE_ADDR")
        if forwarded != peer:
            environ["REMOTE_ADDR"] = parse_node_address(forwarded or "") or peer
        return self._app(environ, start_response)


def parse_node_address(node: str) -> str | None:
    """Return the IP address of an entry without port and zone; None if it has no address."""
    match = NODE_PATTERN.fullmatch(node.strip().strip('"').strip())
    if match is None:
        return None
    try:
        address = ip_address(match[match.lastgroup or 0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        address = IPv6Address(int(address))
    return str(address)
