"""A Nova that keeps servers, tags and the records of actions, and may lose responses.

Nova API "Servers", "Servers - run an action" and "Servers actions". Changes take a fraction of a
second. The other services are those of `bench.standin`.
"""

import json
import re
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event, Lock
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from bench.nova import FLAVORS, build_server
from bench.standin import other_service
from tests.support.loopback_server import LoopbackHandler, run_server

Json = dict[str, Any]

TASK_SECONDS = 0.3
LOST_TURN = 5
ACTIONS = {
    "os-start": ("start", "SHUTOFF", "powering-on", "ACTIVE"),
    "os-stop": ("stop", "ACTIVE", "powering-off", "SHUTOFF"),
}
"""The name of each action in records, the status before it, its task state, the status after it."""


def read_clock() -> str:
    """Return the time in Nova's format."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class ServerRecord:
    """A server, its records of actions, and the end of its task."""

    document: Json
    records: list[Json] = field(default_factory=list)
    final_status: str = ""
    settled_at: float = 0.0

    def begin(self, name: str, request_id: str, task: str, final_status: str) -> None:
        """Begin a task, and record its request."""
        self.document["OS-EXT-STS:task_state"] = task
        self.document["updated"] = read_clock()
        self.final_status, self.settled_at = final_status, time.monotonic() + TASK_SECONDS
        event = {"event": f"compute_{name}", "result": None, "finish_time": None}
        record = {"action": name, "request_id": request_id, "start_time": read_clock()}
        self.records.append({**record, "events": [event]})

    def settle(self) -> None:
        """End the task if its time has come."""
        if not self.final_status or time.monotonic() < self.settled_at:
            return
        self.document |= {"status": self.final_status, "OS-EXT-STS:task_state": None}
        self.document["updated"] = read_clock()
        self.final_status = ""
        for record in self.records:
            record["events"][0] |= {"result": "Success", "finish_time": read_clock()}


class StatefulNova:
    """The servers of one Nova. `creates` counts the servers ever made, by name.

    `traceparents` has the header of this name of each change, in order.

    With `loses_responses`, each fifth response to a change is lost. With a `password`, only its
    logins and the tokens since its last change are accepted. `delay_seconds` passes before
    each response of compute. No change is answered before `answers` is set.
    """

    def __init__(self, *, loses_responses: bool) -> None:
        self._loses_responses = loses_responses
        self.creates: Counter[str] = Counter()
        self.lost_responses = 0
        self.traceparents: list[str] = []
        self.password: str | None = None
        self.delay_seconds = 0.0
        self.answers = Event()
        self.answers.set()
        self._servers: dict[str, ServerRecord] = {}
        self._changes = 0
        self._lock = Lock()

    def list_live(self) -> list[Json]:
        """Return the servers that are not deleted."""
        return [server for server in self._list({}) if server["status"] != "DELETED"]

    @property
    def token(self) -> str:
        """The token of every login."""
        return f"token-of-{self.password}"

    def accepts(self, login: Json | None, token: str | None) -> bool:
        """Return whether the credentials of a request are valid."""
        if self.password is None:
            return True
        if login is None:
            return token == self.token
        password = login["auth"]["identity"]["password"]["user"]["password"]
        return bool(password == self.password)

    def loses_response(self, method: str) -> bool:
        """Return whether the response to a request is lost."""
        with self._lock:
            self._changes += method != "GET"
            is_lost = method != "GET" and self._changes % LOST_TURN == 0 and self._loses_responses
            self.lost_responses += is_lost
            return is_lost

    def handle(
        self, method: str, path: str, body: Json | None, request_id: str
    ) -> tuple[int, Json | None]:
        """Return status and body of a response. `path` follows the version in the URL."""
        url = urlsplit(path)
        with self._lock:
            match method, *url.path.strip("/").split("/"):
                case "GET", "flavors", "detail":
                    return 200, {"flavors": FLAVORS}
                case "GET", "servers":
                    return 200, {"servers": self._list({})[:1]}
                case "GET", "servers", "detail":
                    return 200, {"servers": self._list(dict(parse_qsl(url.query)))}
                case "POST", "servers":
                    return 202, {"server": {"id": self._create((body or {})["server"], request_id)}}
                case _, "servers", vm_id, *rest if self._is_live(vm_id):
                    return self._handle_server(method, self._servers[vm_id], rest, body, request_id)
        message = f"Instance {url.path.split('/')[-1]} could not be found."
        return 404, {"itemNotFound": {"code": 404, "message": message}}

    def _handle_server(
        self, method: str, record: ServerRecord, rest: list[str], body: Json | None, request_id: str
    ) -> tuple[int, Json | None]:
        match method, *rest:
            case ("GET",):
                return 200, {"server": record.document}
            case ("DELETE",):
                record.begin("delete", request_id, "deleting", "DELETED")
                return 204, None
            case "POST", "action":
                return self._act(record, next(iter(body or {})), request_id)
            case "GET", "os-instance-actions":
                return 200, {"instanceActions": record.records}
            case "GET", "os-instance-actions", requested_id:
                for item in record.records:
                    if item["request_id"] == requested_id:
                        return 200, {"instanceAction": item}
        message = "The resource could not be found."
        return 404, {"itemNotFound": {"code": 404, "message": message}}

    def _act(self, record: ServerRecord, verb: str, request_id: str) -> tuple[int, Json | None]:
        name, before, task, after = ACTIONS[verb]
        document = record.document
        if document["status"] != before or document["OS-EXT-STS:task_state"]:
            message = f"Cannot '{name}' instance {document['id']} while it is in vm_state other"
            return 409, {"conflictingRequest": {"code": 409, "message": message}}
        record.begin(name, request_id, task, after)
        return 202, None

    def _create(self, body: Json, request_id: str) -> str:
        vm_id = str(uuid.uuid4())
        times = {"created": read_clock(), "updated": read_clock(), "tenant_id": "p"}
        members = {"metadata": body["metadata"], "tags": body["tags"], **times}
        record = ServerRecord(build_server(vm_id, body["name"]) | members)
        record.begin("create", request_id, "spawning", "ACTIVE")
        self._servers[vm_id] = record
        self.creates[body["name"]] += 1
        return vm_id

    def _is_live(self, vm_id: str) -> bool:
        record = self._servers.get(vm_id)
        if record is not None:
            record.settle()
        return record is not None and record.document["status"] != "DELETED"

    def _list(self, query: dict[str, str]) -> list[Json]:
        for record in self._servers.values():
            record.settle()
        documents = [record.document for record in self._servers.values()]
        if "changes-since" in query:
            since = query["changes-since"][:19]
            return [item for item in documents if item["updated"][:19] >= since]
        live = [item for item in documents if item["status"] != "DELETED"]
        if "tags" in query:
            return [item for item in live if query["tags"] in item["tags"]]
        return [item for item in live if re.search(query.get("name", ""), item["name"])]


class StatefulNovaHandler(LoopbackHandler):
    """Serves one connection of a fake OpenStack."""

    nova: StatefulNova
    url: str

    def handle_any(self) -> None:
        """Respond to a request, or lose the response."""
        text = self.read_body()
        body = json.loads(text) if text else None
        request_id = f"req-{uuid.uuid4()}"
        _, service, _version, *rest = self.path.split("/", 3)
        login = body if self.path.endswith("/auth/tokens") else None
        needs_login = login is not None or (service == "compute" and rest)
        if needs_login and not self.nova.accepts(login, self.headers["X-Auth-Token"]):
            status, content = 401, {"error": {"code": 401, "title": "Unauthorized"}}
        elif service != "compute" or not rest:
            status, content = other_service(self.url, self.path.partition("?")[0])
        else:
            if self.command != "GET":
                self.nova.traceparents.append(self.headers.get("traceparent", ""))
            status, content = self.nova.handle(self.command, rest[0], body, request_id)
            time.sleep(self.nova.delay_seconds)
            if self.command != "GET":
                self.nova.answers.wait()
            if self.nova.loses_response(self.command):
                self.reset()
                return
        headers = [("X-Openstack-Request-Id", request_id), ("X-Subject-Token", self.nova.token)]
        headers.append(("Content-Type", "application/json"))
        data = b"" if content is None else json.dumps(content).encode()
        self.send_reply(status, headers, data, truncate=False)

    do_GET = do_POST = do_PUT = do_DELETE = handle_any


@contextmanager
def run_stateful_nova(*, loses_responses: bool) -> Iterator[tuple[str, StatefulNova]]:
    """Serve an OpenStack during the block."""
    nova = StatefulNova(loses_responses=loses_responses)
    with run_server() as server:
        about = {"nova": nova, "url": server.url}
        server.RequestHandlerClass = type("Handler", (StatefulNovaHandler,), about)
        try:
            yield server.url, nova
        finally:
            nova.answers.set()
