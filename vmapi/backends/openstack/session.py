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
from vmapi.backends.openstack.endpoints import Door, Service, discover
from vmapi.backends.openstack.errors import (
    Refusal,
    Unanswered,
    Unsent,
    passing,
    readable,
    sdk_raises,
    translated,
)
from vmapi.backends.openstack.transport import Transport
from vmapi.domain.credential import Credential
from vmapi.errors import Unauthenticated

Json = dict[str, Any]

REQUEST_ID = re.compile(r"req-[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
SPARE = 8
"""Connections beyond those of the request threads, for the engine and the sync."""


class Session:
    """The cloud of one region, as one project. `timeout` is in seconds for one call."""

    def __init__(self, region: CloudRegion, timeout: float, threads: int) -> None:
        self._region = region
        self._timeout = timeout
        self._pool = threads + SPARE
        self._connection: Connection | None = None
        self._doors: dict[Service, Door] = {}
        self._connecting = Lock()
        self._renewing = Lock()
        self.clock = CloudClock()
        self._opening: dict[Service, Lock] = {
            "compute": Lock(),
            "image": Lock(),
            "network": Lock(),
        }

    @property
    def microversion(self) -> str | None:
        """The compute microversion that is used; None until the cloud was asked."""
        door = self._doors.get("compute")
        return door.microversion if door else None

    @property
    def project(self) -> str | None:
        """The id of the project that the login is for; None where it is for none."""
        with self.within(), translated("compute", changing=False), sdk_raises(Unsent):
            found: str | None = self._connected().session.get_project_id()
        return found

    def within(self, seconds: float | None = None) -> AbstractContextManager[None]:
        """Bound all that is sent in a `with` block, by the timeout if nothing else is said."""
        return deadline.within(seconds or self._timeout)

    def read(self, service: Service, path: str, params: Mapping[str, Any] | None = None) -> Json:
        """Return the JSON object behind a path. Raises what `errors.translated` raises."""
        tries = partial(stamina.retry_context, on=passing, attempts=3, wait_jitter=0.1)
        with self.within(), translated(service, changing=False):
            for attempt in tries(wait_initial=0.1, wait_max=1, timeout=deadline.left()):
                with attempt:
                    answer = self._send(service, "GET", path, params=params)
        return content(answer, service)

    def change(
        self, method: str, path: str, body: Json | None, on_behalf: Credential | None = None
    ) -> requests.Response:
        """Send a change to the compute service, once, and return its answer.

        Raises Unauthenticated where that does not take the credential.
        """
        with self.within(), translated("compute", changing=True):
            if on_behalf is not None:
                return self._send_lent(on_behalf, method, path, json=body, redirect=False)
            return self._send("compute", method, path, json=body, redirect=False)

    def ask(self, path: str, body: Json) -> Json:
        """Ask the compute service for something that is read by POST."""
        with self.within(), translated("compute", changing=False):
            answer = self._send("compute", "POST", path, json=body, redirect=False)
        return content(answer, "compute")

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()

    def _send(self, service: Service, method: str, path: str, **kwargs: Any) -> requests.Response:
        answer = self._send_once(service, method, path, **kwargs)
        if answer.status_code == 401:
            self._renew(answer.request.headers.get("X-Auth-Token"))
            answer = self._send_once(service, method, path, **kwargs)
        return _accepted(answer)

    def _send_lent(
        self, credential: Credential, method: str, path: str, **kwargs: Any
    ) -> requests.Response:
        with sdk_raises(Unsent):
            door = self._door("compute")
        url = lent.address(door, credential) + path
        answer = self._ask("compute", method, url, **lent.arguments(credential), **kwargs)
        if answer.status_code == 401:
            raise Unauthenticated(lent.REFUSED, sent=True)
        return _accepted(answer)

    def _send_once(
        self, service: Service, method: str, path: str, **kwargs: Any
    ) -> requests.Response:
        with sdk_raises(Unsent):
            door = self._door(service)
            self._connected().session.get_auth_headers()
        return self._ask(service, method, door.url + path, **kwargs)

    def _ask(self, service: Service, method: str, url: str, **kwargs: Any) -> requests.Response:
        door = self._doors[service]
        with sdk_raises(Unanswered):
            answer: requests.Response = door.proxy.request(
                url,
                method,
                microversion=door.microversion,
                global_request_id=_request_id(),
                raise_exc=False,
                allow_reauth=False,
                connect_retries=0,
                status_code_retries=0,
                skip_cache=True,
                **kwargs,
            )
        if service == "compute":
            self.clock.told(answer.headers.get("Date"))
        return answer

    def _renew(self, refused: Any) -> None:
        """Log in again, unless another thread has done so since that token was sent."""
        with sdk_raises(Unsent), deadline.holding(self._renewing):
            session = self._connected().session
            if (session.get_auth_headers() or {}).get("X-Auth-Token") == refused:
                session.invalidate()

    def _connected(self) -> Connection:
        with self._connecting:
            if self._connection is None:
                connection = Connection(config=self._region)
                for scheme in ("http://", "https://"):
                    connection.session.session.mount(scheme, Transport(pool_maxsize=self._pool))
                self._connection = connection
            return self._connection

    def _door(self, service: Service) -> Door:
        """Return the service, discovered once; one that is away does not hold up the others."""
        if service not in self._doors:
            with deadline.holding(self._opening[service]):
                if service not in self._doors:
                    self._doors[service] = discover(self._connected(), service)
        return self._doors[service]


def content(answer: requests.Response, service: str) -> Json:
    """Return the JSON object that an answer holds. Raises BackendError when it holds none."""
    with readable(service):
        body = orjson.loads(answer.content)
        if not isinstance(body, dict):
            raise TypeError(type(body))
        return body


def _accepted(answer: requests.Response) -> requests.Response:
    if answer.status_code >= 300:
        raise Refusal(answer)
    return answer


def _request_id() -> str | None:
    bound = structlog.contextvars.get_contextvars().get("request_id")
    return bound if isinstance(bound, str) and REQUEST_ID.fullmatch(bound) else None
