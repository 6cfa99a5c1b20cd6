"""The proxy that httpx uses for a server: of the environment, or of the options of the client."""

from typing import Any

import httpcore
import httpx

PROXY_POOLS = (
    httpcore.HTTPProxy,
    httpcore.AsyncHTTPProxy,
    httpcore.SOCKSProxy,
    httpcore.AsyncSOCKSProxy,
)


def find_proxy(client: httpx.Client | httpx.AsyncClient, url: str) -> str | None:
    """Return the URL of the proxy for a URL, without credentials; None without a proxy.

    httpx has no public name for its choice.
    """
    try:
        transport: Any = client._transport_for_url(httpx.URL(url))
    except httpx.InvalidURL:
        return None
    pool = getattr(transport, "_pool", None)
    if not isinstance(pool, PROXY_POOLS):
        return None
    proxy: httpcore.URL = pool._proxy_url
    host = proxy.host.decode()
    port = f":{proxy.port}" if proxy.port else ""
    return f"{proxy.scheme.decode()}://{f'[{host}]' if ':' in host else host}{port}"
