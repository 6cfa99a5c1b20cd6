"""A fake OpenStack on loopback: Keystone, Nova, Glance and Neutron with scripted replies."""

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from threading import Event, Lock
from typing import Any

import pytest

from tests.support.loopback_server import LoopbackHandler, run_server
from vmapi.domain.vm import CreateSpec
from vmapi.settings.settings import Settings
from vmapi.settings.tls import CA_BUNDLE_VARIABLES

SERVER_ID = "11111111-2222-4333-8444-555555555555"
REQUEST_ID = "req-aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"


@dataclass(frozen=True)
class Reply:
    """A response: JSON, or text as it stands. With `half` the connection breaks in the body.

    JSON objects have a request id, as OpenStack's do, unless `is_marked` is false.
    """

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    half: bool = False
    is_marked: bool = True

    @property
    def all_headers(self) -> dict[str, str]:
        """The headers to send."""
        is_marked = self.is_marked and isinstance(self.body, dict)
        marks = {"X-Openstack-Request-Id": REQUEST_ID} if is_marked else {}
        return {**marks, **self.headers}


@dataclass(frozen=True)
class ResetConnection:
    """Reset the connection after the request was read."""


@dataclass(frozen=True)
class Stall:
    """Reset the connection after a number of seconds, or when the server closes."""

    seconds: float = 60.0


@dataclass(frozen=True)
class ReceivedRequest:
    """A request that the server received."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


Reaction = Reply | ResetConnection | Stall

UNAUTHORIZED = Reply(
    401,
    {"error": {"message": "Unauthorized", "code": 401}},
    {"WWW-Authenticate": 'Keystone uri="http://127.0.0.1/identity"'},
)


def not_found_reply(path: str) -> Reply:
    """Return Nova's 404 for the path of a server, or for an unknown path."""
    server = re.search(r"/servers/([0-9a-f-]{36})", path)
    if server is None:
        return Reply(404, {"code": "404 Not Found", "message": "The resource could not be found."})
    message = f"Instance {server[1]} could not be found."
    return Reply(404, {"itemNotFound": {"code": 404, "message": message}})


class FakeOpenStack:
    """Sends the replies of a path in order, the last one repeatedly; issues and checks tokens.

    `front` is the reply of a proxy that answers in place of Nova; None without such a proxy.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.replies: dict[tuple[str, str], list[Reaction]] = defaultdict(list)
        self.requests: list[ReceivedRequest] = []
        self.closing = Event()
        self.front: Reply | None = None
        self.microversion = "2.93"
        self.compute_url = f"{url}/compute/v2.1"
        self.services = ["compute", "image", "network"]
        self.valid_tokens: set[str] = set()
        self._tokens = count(1)
        self._lock = Lock()
        self.reply_to("GET", "/identity/v3", Reply(200, self._identity()))
        self.reply_to("GET", "/image/v2", Reply(200, self._version("image/v2", "v2.9")))
        self.reply_to("GET", "/network/v2.0", Reply(200, self._version("network/v2.0", "v2.0")))

    def reply_to(self, method: str, path: str, *replies: Reaction) -> None:
        """Set the replies of a path without its query."""
        self.replies[method, path] = list(replies)

    def count_requests(self, method: str, path: str) -> int:
        """Count the requests to a path."""
        return Counter(
            (request.method, request.path.partition("?")[0]) for request in self.requests
        )[method, path]

    def revoke_tokens(self) -> None:
        """Revoke every token."""
        self.valid_tokens.clear()

    def react(self, request: ReceivedRequest) -> Reaction:
        """Record a request and return the reaction to it."""
        path = request.path.partition("?")[0]
        with self._lock:
            self.requests.append(request)
            if self.front is not None and path.startswith("/compute/"):
                return self.front
            queue = self.replies[request.method, path]
            if queue:
                answer = queue.pop(0) if len(queue) > 1 else queue[0]
            elif path == "/identity/v3/auth/tokens":
                return self._token()
            elif path == "/compute/v2.1":
                return Reply(200, self._version("compute/v2.1", "v2.1", self.microversion))
            else:
                answer = not_found_reply(path)
            if path.startswith("/compute/v2.1/") and (
                request.headers.get("X-Auth-Token") not in self.valid_tokens
            ):
                return UNAUTHORIZED
            return answer

    def _token(self) -> Reply:
        token = f"token-{next(self._tokens)}"
        self.valid_tokens.add(token)
        endpoints = {
            "compute": self.compute_url,
            "image": f"{self.url}/image/v2",
            "network": f"{self.url}/network",
        }
        catalog = [
            {
                "type": service,
                "endpoints": [{"interface": "public", "region": "R", "url": url, "id": service}],
            }
            for service, url in endpoints.items()
            if service in self.services
        ]
        body = {
            "token": {
                "expires_at": "2999-01-01T00:00:00.000000Z",
                "issued_at": "2026-01-01T00:00:00.000000Z",
                "methods": ["password"],
                "project": {"id": "p", "name": "p", "domain": {"id": "d", "name": "Default"}},
                "user": {"id": "u", "name": "u", "domain": {"id": "d", "name": "Default"}},
                "catalog": catalog,
            }
        }
        return Reply(201, body, {"X-Subject-Token": token})

    def _identity(self) -> Any:
        links = [{"rel": "self", "href": f"{self.url}/identity/v3/"}]
        return {"version": {"id": "v3.14", "status": "stable", "links": links}}

    def _version(self, path: str, version: str, newest: str = "") -> Any:
        links = [{"rel": "self", "href": f"{self.url}/{path}/"}]
        about = {"id": version, "status": "CURRENT", "links": links}
        return {"version": {**about, "version": newest, "min_version": "2.1" if newest else ""}}


@contextmanager
def serve_openstack() -> Iterator[FakeOpenStack]:
    """Serve on a free port while the block lasts."""
    with run_server() as server:
        cloud = FakeOpenStack(server.url)
        server.RequestHandlerClass = _build_handler(cloud.react, cloud.closing)
        try:
            yield cloud
        finally:
            cloud.closing.set()


def _build_handler(
    react: Callable[[ReceivedRequest], Reaction], closing: Event
) -> type[LoopbackHandler]:
    class Handler(LoopbackHandler):
        def handle_any(self) -> None:
            content = self.read_body()
            body = json.loads(content) if content else None
            reaction = react(ReceivedRequest(self.command, self.path, dict(self.headers), body))
            if isinstance(reaction, Stall):
                closing.wait(reaction.seconds)
                reaction = ResetConnection()
            if isinstance(reaction, ResetConnection):
                self.reset()
            else:
                self._send(reaction)

        def _send(self, reply: Reply) -> None:
            text = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
            data = b"" if reply.body is None else text.encode()
            self.send_reply(reply.status, reply.all_headers.items(), data, truncate=reply.half)

    return Handler


NOVA_PATH = "/compute/v2.1"
SERVER_PATH = f"{NOVA_PATH}/servers/{SERVER_ID}"
DETAIL_PATH = f"{NOVA_PATH}/servers/detail"
ACCEPTED = Reply(202, None, {"X-Openstack-Request-Id": REQUEST_ID})
SPEC = CreateSpec("web-1", "1", "img", None, {"a": "b"}, None, None, ())
SERVER_NOT_FOUND = not_found_reply(SERVER_PATH)
WRONG_STATE = Reply(409, {"conflictingRequest": {"message": f"Instance {SERVER_ID} is not ready"}})


def openstack_settings(url: str, monkeypatch: pytest.MonkeyPatch, **more: Any) -> Settings:
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)
    for name in CA_BUNDLE_VARIABLES:
        monkeypatch.delenv(name, raising=False)  # each driver would parse the file
    credentials = {"username": "u", "password": "hunter2", "project": "p", **more}
    settings = {f"openstack_{name}": value for name, value in credentials.items()}
    return Settings(openstack_auth_url=f"{url}/identity/v3", **settings)


def server_reply(status: str, **members: Any) -> Reply:
    """Return the reply with the server of this status."""
    return Reply(200, {"server": {"id": SERVER_ID, "status": status, **members}})


def action_bodies(cloud: FakeOpenStack) -> list[Any]:
    """Return the bodies of the action requests."""
    return [request.body for request in cloud.requests if request.path.endswith("/action")]
