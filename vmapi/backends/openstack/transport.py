"""How bytes travel: pooled, kept alive, and never longer than the call's deadline."""

from typing import Any

import requests
from keystoneauth1.session import TCPKeepAliveAdapter

from vmapi.backends.openstack import deadline

CONNECT_TIMEOUT = 3.0
"""Seconds for a connection to come about."""


class DeadlineAdapter(TCPKeepAliveAdapter):
    """Gives each request what is left of the deadline, whatever timeout it came with."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        """Send one request. Raises what requests raises; ConnectTimeout when time is up."""
        remaining = deadline.remaining()
        if remaining <= 0:
            raise requests.ConnectTimeout("no time is left", request=request)
        kwargs["timeout"] = (min(CONNECT_TIMEOUT, remaining), remaining)
        return super().send(request, *args, **kwargs)
