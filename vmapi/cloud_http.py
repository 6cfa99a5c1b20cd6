"""The HTTP session of all requests to Keystone, Nova, Glance and Neutron.

The library requests reads the environment for each request, and `~/.netrc` too: an entry for the
cloud's host would add an `Authorization` header to the calls of vmapi.
"""

import os
from typing import Any
from urllib.parse import urlsplit

import requests
from keystoneauth1.session import TCPKeepAliveAdapter
from requests.utils import get_environ_proxies

from vmapi.settings.tls import CA_BUNDLE_VARIABLES


class CloudHttpSession(requests.Session):
    """A session that reads proxies and CA certificates of the environment once, and no netrc.

    The proxies are those of `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self._ca_bundle = next(filter(None, map(os.environ.get, CA_BUNDLE_VARIABLES)), None)
        self._proxies_by_origin: dict[str, dict[str, str]] = {}
        for scheme in ("http://", "https://"):
            self.mount(scheme, TCPKeepAliveAdapter())

    def merge_environment_settings(
        self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> Any:
        """Return the options of a request: proxies, CA certificates and the session's own."""
        proxies = self._proxies_of(url) | (proxies or {})
        if verify in (True, None):
            verify = self._ca_bundle or verify
        return super().merge_environment_settings(url, proxies, stream, verify, cert)

    def _proxies_of(self, url: str) -> dict[str, str]:
        """Return the proxies for the host and port of a URL."""
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self._proxies_by_origin:
            self._proxies_by_origin[origin] = get_environ_proxies(origin)
        return self._proxies_by_origin[origin]
