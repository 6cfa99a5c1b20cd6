"""The HTTP session with the cloud, and the rules for repeated requests.

Keystone API v3 "Authentication and token management"; requests to Nova, Glance and Neutron. The
other modules of this package send all requests through `CloudSession`. Invariants:

- A read is retried when it fails fast. A change is sent once.
- A request that gets a 401 of the cloud did nothing: it is repeated once, after a new login. A
  change that gets a 401 of another server is not repeated.
- A request with a caller's token is sent with that token only, and never repeated.
- The SDK's own retries, timeouts and re-authentication are off.
"""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from threading import Lock
from typing import Any

import orjson
import requests
import stamina
import structlog
from keystoneauth1.exceptions import Unauthorized
from openstack.config.cloud_region import CloudRegion

from vmapi.backends.openstack.connection import deadline
from vmapi.backends.openstack.connection.call_metrics import observing
from vmapi.backends.openstack.connection.clock import CloudClock
from vmapi.backends.openstack.connection.endpoints import (
    CREDENTIALS_REFUSED_DETAIL,
    ServiceEndpoint,
    ServiceType,
    check_microversion,
    delegated_request_options,
    discover_endpoint,
)
from vmapi.backends.openstack.connection.retries import log_retries_of_reads
from vmapi.backends.openstack.failures.errors import (
    is_transient,
    parsing,
    translate_errors,
    wrapping_sdk_errors,
)
from vmapi.backends.openstack.failures.exceptions import ErrorResponse, NoResponse, RequestNotSent
from vmapi.backends.openstack.failures.nova_faults import is_novas_own, is_token_refusal
from vmapi.domain.access.identity import CallerToken
from vmapi.domain.uuids import UUID_REGEX
from vmapi.errors import Unauthenticated
from vmapi.telemetry.tracing.tracer import TRACER

Json = dict[str, Any]

NOVA_REQUEST_ID_PATTERN = re.compile(f"req-{UUID_REGEX}")

BACKGROUND_CONNECTIONS = 8
"""Pooled connections beyond one per request thread, for the engine and the inventory sync."""

READ_ATTEMPTS = 3


class CloudSession:
    """A session in one region of a cloud, as one project; thread-safe."""

    def __init__(
        self,
        region: CloudRegion,
        timeout: float,
        threads: int,
        load_region: Callable[[], CloudRegion],
    ) -> None:
        """Make a session without a connection.

        `timeout` is in seconds, for one driver call; `threads` counts the request threads.
        `load_region` reads the region again.
        """
        log_retries_of_reads()
        self._timeout = timeout
        pool_size = threads + BACKGROUND_CONNECTIONS
        self._connection = deadline.CloudConnection(region, pool_size, load_region)
        self._endpoints: dict[ServiceType, ServiceEndpoint] = {}
        self.clock = CloudClock()
        self._discovery_locks: dict[ServiceType, Lock] = {
            "compute": Lock(),
            "image": Lock(),
            "network": Lock(),
        }

    @property
    def microversion(self) -> str | None:
        """The compute microversion in use; None before the discovery."""
        endpoint = self._endpoints.get("compute")
        return endpoint.microversion if endpoint else None

    @property
    def project_id(self) -> str | None:
        """The id of the project that the login is scoped to; None for an unscoped login."""
        with (
            self.call_timeout(),
            translate_errors("compute", is_change=False),
            wrapping_sdk_errors(RequestNotSent),
        ):
            project_id: str | None = self._connection.get().session.get_project_id()
        return project_id

    def call_timeout(self, seconds: float | None = None) -> AbstractContextManager[None]:
        """Limit the time of all requests in a `with` block together.

        The default is the timeout of the session.
        """
        return deadline.timeout(seconds or self._timeout)

    def read(self, service: ServiceType, path: str, query: Mapping[str, Any] | None = None) -> Json:
        """Return the JSON object at a path. Raises the errors of `translate_errors`."""
        attempts = partial(
            stamina.retry_context, on=is_transient, attempts=READ_ATTEMPTS, wait_jitter=0.1
        )
        with self.call_timeout(), translate_errors(service, is_change=False):
            for attempt in attempts(wait_initial=0.1, wait_max=1, timeout=deadline.remaining()):
                with attempt:
                    response = self._send(service, "GET", path, params=query)
        return json_body(response, service)

    def send_change(
        self, method: str, path: str, body: Json | None, caller_token: CallerToken | None = None
    ) -> requests.Response:
        """Send a change to Nova, once, and return the response.

        Raises the errors of `translate_errors`, and Unauthenticated when Nova refuses the token.
        """
        with self.call_timeout(), translate_errors("compute", is_change=True):
            if caller_token is not None:
                return self._send_delegated(caller_token, method, path, body)
            return self._send("compute", method, path, json=body, redirect=False)

    def read_by_post(self, path: str, body: Json) -> Json:
        """Return the JSON object of a POST to Nova that changes nothing."""
        with self.call_timeout(), translate_errors("compute", is_change=False):
            response = self._send("compute", "POST", path, json=body, redirect=False)
        return json_body(response, "compute")

    def close(self) -> None:
        """Close the connection, if there is one."""
        self._connection.close()

    def _send(
        self, service: ServiceType, method: str, path: str, **options: Any
    ) -> requests.Response:
        for is_repeated in (False, True):
            with wrapping_sdk_errors(RequestNotSent):
                endpoint = self._log_in(service)
            response = self._request(service, method, endpoint.url, path, **options)
            if response.status_code != 401 or is_repeated:
                break
            if method != "GET" and not is_token_refusal(response):
                break
            with wrapping_sdk_errors(RequestNotSent):
                self._connection.invalidate_token(response.request.headers.get("X-Auth-Token"))
        return _raise_for_status(response)

    def _send_delegated(
        self, caller_token: CallerToken, method: str, path: str, body: Json | None
    ) -> requests.Response:
        with wrapping_sdk_errors(RequestNotSent):
            endpoint = self._get_endpoint("compute")
        base_url = endpoint.url_for_project(caller_token.project)
        options = delegated_request_options(caller_token)
        response = self._request(
            "compute", method, base_url, path, json=body, redirect=False, **options
        )
        if response.status_code == 401 and is_token_refusal(response):
            raise Unauthenticated(CREDENTIALS_REFUSED_DETAIL, credentials_sent=True)
        return _raise_for_status(response)

    def _request(
        self, service: ServiceType, method: str, base_url: str, path: str, **options: Any
    ) -> requests.Response:
        """Send one HTTP request to a discovered service."""
        endpoint = self._endpoints[service]
        with (
            wrapping_sdk_errors(NoResponse),
            observing(service, method, path, options.get("json")) as status,
        ):
            if traceparent := TRACER.traceparent():
                options["headers"] = options.get("headers", {}) | {"traceparent": traceparent}
            response: requests.Response = endpoint.proxy.request(
                base_url + path,
                method,
                microversion=endpoint.microversion,
                global_request_id=_bound_request_id(),
                raise_exc=False,
                allow_reauth=False,
                connect_retries=0,
                status_code_retries=0,
                skip_cache=True,
                # that of the SDK sleeps until a clock that was set back has caught up
                rate_semaphore=nullcontext(),
                **options,
            )
            status.record(response)
        if service == "compute" and is_novas_own(response):
            self.clock.record_date(response.headers.get("Date"))
            check_microversion(response, endpoint.microversion or "")
        return response

    def _log_in(self, service: ServiceType) -> ServiceEndpoint:
        """Return the endpoint of a service, and hold a valid token.

        If the cloud refuses the credentials, tries those that their source has now.
        """
        credentials = self._connection.credentials
        try:
            return self._find_endpoint(service)
        except Unauthorized:
            if not self._connection.replace_credentials(credentials):
                raise
            return self._find_endpoint(service)

    def _find_endpoint(self, service: ServiceType) -> ServiceEndpoint:
        endpoint = self._get_endpoint(service)
        self._connection.get().session.get_auth_headers()
        return endpoint

    def _get_endpoint(self, service: ServiceType) -> ServiceEndpoint:
        """Return the endpoint of a service, discovered once.

        There is one lock per service, so that an unreachable service does not block the others.
        """
        if service not in self._endpoints:
            with deadline.acquire_in_time(self._discovery_locks[service]):
                if service not in self._endpoints:
                    self._endpoints[service] = discover_endpoint(self._connection.get(), service)
        return self._endpoints[service]


def json_body(response: requests.Response, service: str) -> Json:
    """Return the JSON object of a response. Raises BackendError for any other body."""
    with parsing(service):
        body = _parse_json(response.content)
        if not isinstance(body, dict):
            raise TypeError(type(body))
        return body


def _parse_json(content: bytes) -> Any:
    """Parse JSON; text that is not valid UTF-8, or has lone surrogates, costs no other text.

    Raises ValueError.
    """
    try:
        return orjson.loads(content)
    except ValueError:
        if not content.lstrip().startswith(b"{"):
            raise
    try:
        # one user's text must not hide the VMs of all others
        return json.loads(content.decode(errors="replace"))
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error


def _raise_for_status(response: requests.Response) -> requests.Response:
    if response.status_code >= 300:
        raise ErrorResponse(response)
    return response


def _bound_request_id() -> str | None:
    """Return the request id of structlog's context if OpenStack accepts its form."""
    bound = structlog.contextvars.get_contextvars().get("request_id")
    is_accepted = isinstance(bound, str) and NOVA_REQUEST_ID_PATTERN.fullmatch(bound)
    return bound if is_accepted else None
