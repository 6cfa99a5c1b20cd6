"""Simulate a Nova with many servers that change all the time, with real response times."""

import random
import threading
import time
import uuid
from collections import deque
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bench.nova import FLAVORS, IMAGES, build_server
from bench.population import build_sample

Json = dict[str, Any]

MAX_PAGE = 1000
SERVER_SECONDS = 0.08
"""Seconds for a response with one server, as measured on a real Nova."""
LIST_SECONDS, LISTED_SERVER_SECONDS = 0.22, 0.0064
"""Seconds for a list, and for each server in it: 0.35 s for 20 servers, 0.86 s for 100."""
CHANGE_TICK = 0.01
CREATED_AT = "2026-01-01T00:00:00Z"
NOVA_STATUSES = {"RUNNING": "ACTIVE", "STOPPED": "SHUTOFF", "PAUSED": "PAUSED"}


class LargeNova:
    """A cloud with servers that change at a steady rate; a change sets the name to the time.

    `delays` names the requests with the duration of a real Nova: `lists` (also one server) and
    `changes`. `varied` servers are the samples of `bench.population`.
    """

    def __init__(
        self, number: int, changes_per_second: float, *, delays: frozenset[str], varied: bool
    ) -> None:
        ids = sorted(str(uuid.UUID(int=random.getrandbits(128))) for _ in range(number))
        self._delays = delays
        self._servers = {
            vm_id: build_sample_server(vm_id, place, number)
            if varied
            else build_server(vm_id, f"vm-{place}")
            | {"status": "ACTIVE", "created": CREATED_AT, "updated": CREATED_AT}
            for place, vm_id in enumerate(ids)
        }
        self._ids = ids
        self._places = {vm_id: place for place, vm_id in enumerate(ids)}
        self._changes: deque[tuple[float, str]] = deque(maxlen=100_000)
        self._changes_per_second = changes_per_second
        if changes_per_second:
            threading.Thread(target=self._run_changes, daemon=True).start()

    def handle(
        self, method: str, path: str, body: Json | None, _request_id: str = ""
    ) -> tuple[int, Json | None]:
        """Respond to a read request. Changes are not supported."""
        url = urlsplit(path)
        query_params = {name: values[-1] for name, values in parse_qs(url.query).items()}
        match method, *url.path.strip("/").split("/"):
            case "GET", "flavors", "detail":
                return 200, {"flavors": FLAVORS}
            case "GET", "servers":
                # the health check of vmapi
                return 200, {"servers": [{"id": vm_id} for vm_id in self._ids[:1]]}
            case "GET", "servers", "detail":
                return 200, self._page(query_params)
            case "GET", "servers", vm_id if vm_id in self._servers:
                self._delay("lists", SERVER_SECONDS)
                return 200, {"server": self._servers[vm_id]}
        return 404, {"itemNotFound": {"message": "Instance could not be found."}}

    def _page(self, query_params: dict[str, str]) -> Json:
        ids = self._ids
        if "changes-since" in query_params:
            since = datetime.fromisoformat(query_params["changes-since"])
            ids = sorted(self._changed_since(since.timestamp()), key=self._places.__getitem__)
        if marker := query_params.get("marker"):
            ids = [vm_id for vm_id in ids if self._places[vm_id] > self._places[marker]]
        size = min(int(query_params.get("limit", MAX_PAGE)), MAX_PAGE)
        page_ids, has_more = ids[:size], len(ids) > size
        # the servers as they are now, before the delay of the response
        page: Json = {"servers": [dict(self._servers[vm_id]) for vm_id in page_ids]}
        if has_more:
            link = f"http://127.0.0.1/servers/detail?limit={size}&marker={page_ids[-1]}"
            page["servers_links"] = [{"rel": "next", "href": link}]
        kind = "changes" if "changes-since" in query_params else "lists"
        self._delay(kind, LIST_SECONDS + LISTED_SERVER_SECONDS * len(page_ids))
        return page

    def _delay(self, kind: str, seconds: float) -> None:
        if kind in self._delays:
            time.sleep(seconds)

    def _changed_since(self, since: float) -> set[str]:
        ids = set()
        for at, vm_id in reversed(self._changes.copy()):
            if int(at) < since:
                break
            ids.add(vm_id)
        return ids

    def _run_changes(self) -> None:
        started_at, done = time.monotonic(), 0
        while True:
            time.sleep(CHANGE_TICK)
            due = int((time.monotonic() - started_at) * self._changes_per_second)
            for _ in range(due - done):
                now, vm_id = time.time(), random.choice(self._ids)
                updated = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                self._servers[vm_id] |= {"name": f"vm-{now:.3f}", "updated": updated}
                self._changes.append((now, vm_id))
            done = due


def build_sample_server(vm_id: str, place: int, number: int) -> Json:
    """Return the sample VM of a place as a server."""
    sample = build_sample(place, number)
    created = sample.created_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    server = build_server(vm_id, sample.name)
    return server | {
        "status": NOVA_STATUSES[sample.status],
        "image": {**server["image"], "id": IMAGES[sample.image]["id"]},
        "flavor": {**server["flavor"], "original_name": sample.flavor},
        "metadata": sample.metadata,
        "created": created,
        "updated": created,
    }
