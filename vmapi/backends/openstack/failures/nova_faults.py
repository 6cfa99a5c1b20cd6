"""Nova's own error responses, as opposed to those of a proxy in front of Nova.

Nova API "Faults". Nova marks each error response twice: with a request id in the headers, and with
a JSON fault that is named by the status. A gateway, an ingress or a load balancer sends neither.
`errors` and the session are the callers. Invariant: a response without both marks proves nothing,
neither about a server nor about a change.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson
import requests

from vmapi.domain.uuids import UUID_REGEX

REQUEST_ID_HEADERS = ("X-Openstack-Request-Id", "X-Compute-Request-Id")

FAULT_NAMES: Mapping[int, str] = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}
"""The member of the JSON fault by status (`nova/api/openstack/wsgi.py`, class `Fault`)."""

DEFAULT_FAULT_NAME = "computeFault"

KEYSTONE_OUTAGE_MESSAGE = b"The Keystone service is temporarily unavailable"

SERVER_URL_PATTERN = re.compile(f"/servers/((?i:{UUID_REGEX}))")


@dataclass(frozen=True, slots=True)
class NovaFault:
    """An error response that carries both marks of Nova."""

    status: int
    message: str
    server_id: str | None
    """The id in the URL of one server, or of a resource below it; None for any other URL."""


def parse_nova_fault(response: requests.Response) -> NovaFault | None:
    """Return Nova's fault in an error response; None for a response that is not Nova's own."""
    status = response.status_code
    if not request_id_of(response):
        return None
    fault = _json_object(response).get(FAULT_NAMES.get(status, DEFAULT_FAULT_NAME))
    if not isinstance(fault, dict) or fault.get("code", status) != status:
        return None
    message = fault.get("message")
    if not isinstance(message, str):
        return None
    server_url = SERVER_URL_PATTERN.search(urlsplit(response.url or "").path)
    return NovaFault(status, message, server_url[1] if server_url else None)


def is_token_refusal(response: requests.Response) -> bool:
    """Return whether a 401 comes from a service of the cloud, which has done nothing then.

    The keystonemiddleware in front of each service names Keystone in `WWW-Authenticate`.
    """
    if response.status_code != 401:
        return False
    scheme = response.headers.get("WWW-Authenticate", "").partition(" ")[0]
    has_both_marks = bool(request_id_of(response)) and bool(_json_object(response))
    return scheme.lower() == "keystone" or has_both_marks


def is_keystone_outage(response: requests.Response) -> bool:
    """Return whether the keystonemiddleware of Nova could not reach Keystone.

    The middleware then answers before Nova has seen the request.
    """
    has_message = KEYSTONE_OUTAGE_MESSAGE in response.content
    return response.status_code == 503 and has_message and bool(request_id_of(response))


def request_id_of(response: requests.Response) -> str:
    """Return the request id in the headers of a response; empty without one."""
    values = (response.headers.get(name) for name in REQUEST_ID_HEADERS)
    return next((request_id for request_id in values if request_id), "")


def is_novas_own(response: requests.Response) -> bool:
    """Return whether a response carries the marks of Nova: below 300 that is the request id."""
    if response.status_code < 300:
        return bool(request_id_of(response))
    return parse_nova_fault(response) is not None


def _json_object(response: requests.Response) -> dict[str, Any]:
    try:
        body = orjson.loads(response.content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
