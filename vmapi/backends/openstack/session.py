"""Talking to the cloud: one connection, made on first use, and raw JSON over it.

Reads are tried again when they fail fast. Changes are sent once: only a 401, which did nothing, is
repeated after a new login. What is sent on somebody's behalf is sent with that token only.
"""

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from threading import Lock
from typing import Any

import orjson
import requests
import stamina
import structlog
from openstack.config.cloud_region import CloudRegion
from openstack.connection import Connection

from vmapi.backends.openstack import deadline
from vmapi.backends.openstack import delegated_calls as lent
from vmapi.backends.openstack.clock import CloudClock
from vmapi.backends.openstack.endpoints import ServiceEndpoint, ServiceType, discover_endpoint
from vmapi.backends.openstack.errors import (
    ErrorResponse,
    NoResponse,
    RequestNotSent,
    is_transient,
    parsing,
    translate_errors,
    wrapping_sdk_errors,
)
from vmapi.backends.openstack.transport import DeadlineAdapter
from vmapi.domain.identity import CallerToken
from vmapi.errors import Unauthenticated

Json = dict[str, Any]

NOVA_REQUEST_ID_PATTERN = re.compile(r"req-[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
BACKGROUND_CONNECTIONS = 8
"""Connections beyond those of the request threads, for the engine and the sync."""


class CloudSession:
    """The cloud of one region, as one project. `timeout` is in seconds for one call."""

    def __init__(self, region: CloudRegion, timeout: float, threads: int) -> None:
        self._region = region
        self._timeout = timeout
        self._pool_size = threads + BACKGROUND_CONNECTIONS
        self._connection: Connection | None = None
        self._endpoints: dict[ServiceType, ServiceEndpoint] = {}
        self._connection_lock = Lock()
        self._login_lock = Lock()
        self.clock = CloudClock()
        self._discovery_locks: dict[ServiceType, Lock] = {
            "compute": Lock(),
            "image": Lock(),
            "network": Lock(),
        }

    @property
    def microversion(self) -> str | None:
        """The compute microversion that is used; None until the cloud was asked."""
        door = self._endpoints.get("compute")
        return door.microversion if door else None

    @property
    def project_id(self) -> str | None:
        """The id of the project that the login is for; None where it is for none."""
        with (
            self.call_timeout(),
            translate_errors("compute", is_change=False),
            wrapping_sdk_errors(RequestNotSent),
        ):
            found: str | None = self._get_connection().session.get_project_id()
        return found

    def call_timeout(self, seconds: float | None = None) -> AbstractContextManager[None]:
        """Bound all that is sent in a `with` block, by the timeout if nothing else is said."""
        return deadline.timeout(seconds or self._timeout)

    def read(
        self, service: ServiceType, path: str, params: Mapping[str, Any] | None = None
    ) -> Json:
        """Return the JSON object behind a path. Raises what `errors.translated` raises."""
        tries = partial(stamina.retry_context, on=is_transient, attempts=3, wait_jitter=0.1)
        with self.call_timeout(), translate_errors(service, is_change=False):
            for attempt in tries(wait_initial=0.1, wait_max=1, timeout=deadline.remaining()):
                with attempt:
                    answer = self._send(service, "GET", path, params=params)
        return json_body(answer, service)

    def send_change(
        self, method: str, path: str, body: Json | None, caller_token: CallerToken | None = None
    ) -> requests.Response:
        """Send a change to the compute service, once, and return its answer.

        Raises Unauthenticated where that does not take the credential.
        """
        with self.call_timeout(), translate_errors("compute", is_change=True):
            if caller_token is not None:
                return self._send_delegated(caller_token, method, path, json=body, redirect=False)
            return self._send("compute", method, path, json=body, redirect=False)

    def read_by_post(self, path: str, body: Json) -> Json:
        """Ask the compute service for something that is read by POST."""
        with self.call_timeout(), translate_errors("compute", is_change=False):
            answer = self._send("compute", "POST", path, json=body, redirect=False)
        return json_body(answer, "compute")

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()

    def _send(
        self, service: ServiceType, method: str, path: str, **kwargs: Any
    ) -> requests.Response:
        answer = self._send_once(service, method, path, **kwargs)
        if answer.status_code == 401:
            self._reauthenticate(answer.request.headers.get("X-Auth-Token"))
            answer = self._send_once(service, method, path, **kwargs)
        return _raise_for_status(answer)

    def _send_delegated(
        self, caller_token: CallerToken, method: str, path: str, **kwargs: Any
    ) -> requests.Response:
        with wrapping_sdk_errors(RequestNotSent):
            door = self._get_endpoint("compute")
        url = lent.url_for_project(door, caller_token) + path
        answer = self._request(
            "compute", method, url, **lent.request_options(caller_token), **kwargs
        )
        if answer.status_code == 401:
            raise Unauthenticated(lent.CREDENTIALS_REFUSED_DETAIL, credentials_sent=True)
        return _raise_for_status(answer)

    def _send_once(
        self, service: ServiceType, method: str, path: str, **kwargs: Any
    ) -> requests.Response:
        with wrapping_sdk_errors(RequestNotSent):
            door = self._get_endpoint(service)
            self._get_connection().session.get_auth_headers()
        return self._request(service, method, door.url + path, **kwargs)

    def _request(
        self, service: ServiceType, method: str, url: str, **kwargs: Any
    ) -> requests.Response:
        door = self._endpoints[service]
        with wrapping_sdk_errors(NoResponse):
            answer: requests.Response = door.proxy.request(
                url,
                method,
                microversion=door.microversion,
                global_request_id=_bound_request_id(),
                raise_exc=False,
                allow_reauth=False,
                connect_retries=0,
                status_code_retries=0,
                skip_cache=True,
                **kwargs,
            )
        if service == "compute":
            self.clock.record_date(answer.headers.get("Date"))
        return answer

    def _reauthenticate(self, refused_token: Any) -> None:
        """Log in again, unless another thread has done so since that token was sent."""
        with wrapping_sdk_errors(RequestNotSent), deadline.acquire_in_time(self._login_lock):
            session = self._get_connection().session
            if (session.get_auth_headers() or {}).get("X-Auth-Token") == refused_token:
                session.invalidate()

    def _get_connection(self) -> Connection:
        with self._connection_lock:
            if self._connection is None:
                connection = Connection(config=self._region)
                for scheme in ("http://", "https://"):
                    connection.session.session.mount(
                        scheme, DeadlineAdapter(pool_maxsize=self._pool_size)
                    )
                self._connection = connection
            return self._connection

    def _get_endpoint(self, service: ServiceType) -> ServiceEndpoint:
        """Return the service, discovered once; one that is away does not hold up the others."""
        if service not in self._endpoints:
            with deadline.acquire_in_time(self._discovery_locks[service]):
                if service not in self._endpoints:
                    self._endpoints[service] = discover_endpoint(self._get_connection(), service)
        return self._endpoints[service]


def json_body(response: requests.Response, service: str) -> Json:
    """Return the JSON object that an answer holds. Raises BackendError when it holds none."""
    with parsing(service):
        body = orjson.loads(response.content)
        if not isinstance(body, dict):
            raise TypeError(type(body))
        return body


def _raise_for_status(response: requests.Response) -> requests.Response:
    if response.status_code >= 300:
        raise ErrorResponse(response)
    return response


def _bound_request_id() -> str | None:
    bound = structlog.contextvars.get_contextvars().get("request_id")
    return bound if isinstance(bound, str) and NOVA_REQUEST_ID_PATTERN.fullmatch(bound) else None
