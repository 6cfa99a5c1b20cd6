"""Simulate a Nova in memory. The next poll for changes completes all actions."""

import threading
import time
import uuid
from collections import deque
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]

ACTION_STATES = {
    "os-start": ("powering-on", "ACTIVE"),
    "os-stop": ("powering-off", "SHUTOFF"),
    "reboot": ("rebooting", "ACTIVE"),
    "pause": ("pausing", "PAUSED"),
    "unpause": ("unpausing", "ACTIVE"),
}
"""The task state of each action, and the status after it."""

TIMESTAMP = "2026-11-22T15:55:50Z"
ACTION_RECORD = {"events": [{"event": "compute", "result": "Success", "finish_time": TIMESTAMP}]}
FLAVORS = [
    {"id": place, "name": name, "vcpus": vcpus, "ram": ram, "disk": disk}
    | {"os-flavor-access:is_public": True}
    for place, name, vcpus, ram, disk in (
        ("1", "m1.tiny", 1, 512, 1),
        ("2", "m1.small", 1, 2048, 2),
    )
]
NETWORK = {"id": "6d4e5f6a-0000-4000-8000-000000000002", "name": "private"}
MAX_SETTLED = 10_000
"""Changes that `SharedNova` remembers."""

MAX_RECORDS = 20
"""Records of actions that `SharedNova` keeps for one server."""

LOOKBACK_SECONDS = 1.0
"""How far `SharedNova` reaches back: a poll may be earlier than the record of its change."""

IMAGES = {
    name: {"id": f"6d4e5f6a-0000-4000-8000-00000000000{digit}", "name": name, "status": "active"}
    for name, digit in (("cirros", 1), ("ubuntu-22.04", 3), ("debian-12", 4))
}


class SimulatedNova:
    """The servers of the simulated Nova, of which `active` exist from the start."""

    def __init__(self, active: int = 0) -> None:
        ids = [str(uuid.uuid4()) for _ in range(active)]
        self._servers: dict[str, Json] = {
            vm_id: build_server(vm_id, f"vm-{place}") | {"status": "ACTIVE"}
            for place, vm_id in enumerate(ids)
        }
        self._final_statuses: dict[str, str] = {}

    def handle(
        self, method: str, path: str, body: Json | None, _request_id: str = ""
    ) -> tuple[int, Json | None]:
        """Return the status and the body of a response. `path` follows the version in the URL."""
        url = urlsplit(path)
        parts = url.path.strip("/").split("/")
        if method == "GET":
            response = self._read(parts, parse_qs(url.query))
        else:
            response = self._change(method, parts, body or {})
        return response or (404, {"itemNotFound": {"message": "Instance could not be found."}})

    def _read(
        self, parts: list[str], query: dict[str, list[str]]
    ) -> tuple[int, Json | None] | None:
        match parts:
            case "flavors", "detail":
                return 200, {"flavors": FLAVORS}
            case ["servers"]:
                return 200, {"servers": [*self._servers.values()][:1]}
            case "servers", "detail":
                return 200, {"servers": self._list_servers(query)}
            case "servers", vm_id if vm_id in self._servers:
                return 200, {"server": self._servers[vm_id]}
            case "servers", _, "os-instance-actions", _:
                return 200, {"instanceAction": ACTION_RECORD}
        return None

    def _change(self, method: str, parts: list[str], body: Json) -> tuple[int, Json | None] | None:
        match method, *parts:
            case _, "servers", vm_id, *_ if vm_id not in self._servers:
                return None
            case "POST", "servers":
                return 202, {"server": {"id": self._create(body["server"])}}
            case "POST", "servers", vm_id, "action":
                self._begin(vm_id, *ACTION_STATES[next(iter(body))])
                return 202, None
            case "POST" | "PUT", "servers", vm_id, "metadata":
                stored = self._servers[vm_id]["metadata"] if method == "POST" else {}
                self._servers[vm_id]["metadata"] = stored | body["metadata"]
                return 200, body
            case "DELETE", "servers", vm_id, "metadata", key:
                del self._servers[vm_id]["metadata"][key]
                return 204, None
            case "PUT", "servers", vm_id:
                self._servers[vm_id] |= body["server"]
                return 200, {"server": self._servers[vm_id]}
            case "DELETE", "servers", vm_id:
                self._begin(vm_id, "deleting", "DELETED")
                return 204, None
        return None

    def _create(self, requested: Json) -> str:
        vm_id = str(uuid.uuid4())
        server = build_server(vm_id, requested["name"])
        flavor = next(item for item in FLAVORS if item["id"] == requested["flavorRef"])
        sizes = {name: flavor[name] for name in ("vcpus", "ram", "disk")}
        self._servers[vm_id] = server | {
            "flavor": {**server["flavor"], **sizes, "original_name": flavor["name"]},
            "image": {**server["image"], "id": requested["imageRef"]},
            "metadata": requested["metadata"],
        }
        self._begin(vm_id, "spawning", "ACTIVE")
        return vm_id

    def _begin(self, vm_id: str, task: str, end: str) -> None:
        self._servers[vm_id]["OS-EXT-STS:task_state"] = task
        self._final_statuses[vm_id] = end

    def _list_servers(self, query: dict[str, list[str]]) -> list[Json]:
        if "changes-since" not in query:
            names = [pattern.strip("^$").replace("\\", "") for pattern in query.get("name", ())]
            return [item for item in self._servers.values() if not names or item["name"] in names]
        settled = []
        for vm_id, end in self._final_statuses.items():
            final = {"status": end, "OS-EXT-STS:task_state": None}
            settled.append(self._servers[vm_id] | final)
            self._servers[vm_id] = settled[-1]
            if end == "DELETED":
                del self._servers[vm_id]
        self._final_statuses.clear()
        return settled


def build_server(vm_id: str, name: str) -> Json:
    """Return a new server with about as many fields as Nova sends."""
    address = {"addr": "198.18.0.2", "version": 4, "OS-EXT-IPS:type": "fixed"}
    links = [{"rel": rel, "href": f"http://127.0.0.1/servers/{vm_id}"} for rel in ("self", "also")]
    empty = ("accessIPv4", "accessIPv6", "config_drive", "key_name", "description", "locked_reason")
    return dict.fromkeys(empty) | {
        "id": vm_id,
        "name": name,
        "status": "BUILD",
        "created": TIMESTAMP,
        "updated": TIMESTAMP,
        "hostId": "a" * 56,
        "links": links,
        "image": {"id": IMAGES["cirros"]["id"], "links": links[:1]},
        "flavor": {"original_name": "m1.tiny", "vcpus": 1, "ram": 512, "disk": 1, "swap": 0},
        "addresses": {"private": [address]},
        "metadata": {"env": "bench"},
        "security_groups": [{"name": "default"}],
        "locked": False,
        "tags": [],
        "OS-DCF:diskConfig": "MANUAL",
        "OS-EXT-AZ:availability_zone": "nova",
        "OS-EXT-STS:vm_state": "active",
        "OS-EXT-STS:power_state": 1,
        "OS-SRV-USG:launched_at": TIMESTAMP,
    }


class SharedNova(SimulatedNova):
    """A Nova that several pollers ask: each one gets every change since its time.

    It has the tags of servers and the records of actions: a change with a lost response is found.
    """

    def __init__(self, active: int = 0) -> None:
        super().__init__(active)
        self._lock = threading.Lock()
        self._settled: deque[tuple[float, Json]] = deque(maxlen=MAX_SETTLED)
        self._records: dict[str, deque[Json]] = {}

    def handle(
        self, method: str, path: str, body: Json | None, request_id: str = ""
    ) -> tuple[int, Json | None]:
        """Return the status and the body of a response, and record an accepted action."""
        with self._lock:
            status, content = super().handle(method, path, body)
            match method, status, *path.split("/"):
                case "POST", 202, "servers":
                    self._record((content or {})["server"]["id"], "create", request_id)
                case "POST", 202, "servers", str(vm_id), "action":
                    self._record(vm_id, next(iter(body or {})).removeprefix("os-"), request_id)
            return status, content

    def _record(self, vm_id: str, action: str, request_id: str) -> None:
        started = time.strftime("%Y-%m-%dT%H:%M:%S.000000", time.gmtime())
        record = {"action": action, "request_id": request_id, "start_time": started}
        self._records.setdefault(vm_id, deque(maxlen=MAX_RECORDS)).append(record)

    def _read(
        self, parts: list[str], query: dict[str, list[str]]
    ) -> tuple[int, Json | None] | None:
        match parts:
            case "servers", vm_id, "os-instance-actions" if vm_id in self._servers:
                return 200, {"instanceActions": [*self._records.get(vm_id, ())]}
        return super()._read(parts, query)

    def _create(self, requested: Json) -> str:
        vm_id = super()._create(requested)
        self._servers[vm_id]["tags"] = requested.get("tags", [])
        return vm_id

    def _list_servers(self, query: dict[str, list[str]]) -> list[Json]:
        servers = super()._list_servers(query)
        if "tags" in query:
            return [item for item in servers if query["tags"][0] in item["tags"]]
        if "changes-since" not in query:
            return servers
        now = time.time()
        self._settled.extend((now, server) for server in servers)
        for server in servers:
            if server["status"] == "DELETED":
                self._records.pop(server["id"], None)
        since = datetime.fromisoformat(query["changes-since"][0]).timestamp() - LOOKBACK_SECONDS
        return list({server["id"]: server for at, server in self._settled if at >= since}.values())
