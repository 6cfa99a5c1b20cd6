"""The SDK's connection, with one deadline per driver call for its requests, logins and retries.

The driver and the session set the deadline of the current thread with `timeout`. `DeadlineAdapter`
enforces it for every request that the SDK sends, whatever timeout the SDK passes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from threading import Lock
from time import monotonic
from typing import Any

import requests
import structlog
from keystoneauth1.session import TCPKeepAliveAdapter
from openstack.config.cloud_region import CloudRegion
from openstack.connection import Connection

from vmapi.backends.openstack.connection.call_metrics import observing
from vmapi.cloud_http import CloudHttpSession
from vmapi.errors import SettingsError

log = structlog.get_logger("vmapi.openstack")

LOGIN_PATH = "/auth/tokens"

CONNECT_TIMEOUT = 3.0
"""Seconds to establish a TCP connection: a host that is up accepts at once."""

_deadline: ContextVar[float] = ContextVar("vmapi_openstack_deadline", default=inf)


@contextmanager
def timeout(seconds: float) -> Iterator[None]:
    """Set the deadline of this thread for a `with` block.

    An earlier deadline of an outer block stays in force.
    """
    token = _deadline.set(min(_deadline.get(), monotonic() + seconds))
    try:
        yield
    finally:
        _deadline.reset(token)


def remaining() -> float:
    """Return the seconds until the deadline; infinite without a deadline."""
    return _deadline.get() - monotonic()


@contextmanager
def acquire_in_time(lock: Lock) -> Iterator[None]:
    """Hold a lock for a `with` block. Raises TimeoutError at the deadline."""
    seconds = remaining()
    if not lock.acquire(timeout=-1 if seconds == inf else max(0, seconds)):
        raise TimeoutError
    try:
        yield
    finally:
        lock.release()


class DeadlineAdapter(TCPKeepAliveAdapter):
    """An HTTP adapter that gives each request the time until the deadline."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        """Send a request. Raises `requests` errors; ConnectTimeout after the deadline."""
        seconds = remaining()
        if seconds <= 0:
            raise requests.ConnectTimeout("the deadline has passed", request=request)
        kwargs["timeout"] = (min(CONNECT_TIMEOUT, seconds), seconds)
        if not (request.url or "").endswith(LOGIN_PATH):
            return super().send(request, *args, **kwargs)
        # the SDK logs in when it needs a token; CloudSession records all other requests
        with observing("identity", "POST", LOGIN_PATH) as status:
            response = super().send(request, *args, **kwargs)
            status.record(response)
        return response


class CloudConnection:
    """The connection of one region; thread-safe.

    `pool_size` counts HTTP connections. `load_region` reads the region and its credentials again.
    """

    def __init__(
        self, region: CloudRegion, pool_size: int, load_region: Callable[[], CloudRegion]
    ) -> None:
        self._region = region
        self._pool_size = pool_size
        self._load_region = load_region
        self._connection: Connection | None = None
        self._connection_lock = Lock()
        self._login_lock = Lock()

    @property
    def credentials(self) -> Any:
        """The credentials in use, to be compared with those of another time."""
        return self._region.config["auth"]

    def get(self) -> Connection:
        """Return the connection, made at first use: after gunicorn has forked."""
        with self._connection_lock:
            if self._connection is None:
                connection = Connection(config=self._region)
                connection.session.session = CloudHttpSession()
                for scheme in ("http://", "https://"):
                    adapter = DeadlineAdapter(pool_maxsize=self._pool_size)
                    connection.session.session.mount(scheme, adapter)
                self._connection = connection
            return self._connection

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()

    def invalidate_token(self, refused_token: Any) -> None:
        """Log in again at the next request, unless another thread has replaced the token.

        Raises SDK errors; TimeoutError at the deadline.
        """
        with acquire_in_time(self._login_lock):
            session = self.get().session
            if (session.get_auth_headers() or {}).get("X-Auth-Token") == refused_token:
                session.invalidate()

    def replace_credentials(self, refused: Any) -> bool:
        """Use the present credentials of the source; return whether they differ from the refused.

        Raises TimeoutError at the deadline.
        """
        with acquire_in_time(self._login_lock):
            if self.credentials != refused:
                return True
            try:
                region = self._load_region()
            except SettingsError as error:
                log.warning("credentials of the cloud not readable", reason=error.detail)
                return False
            if region.config["auth"] == refused:
                return False
            self.get().session.auth = region.get_session().auth
            self._region = region
        log.info("credentials of the cloud replaced")
        return True
