"""A Nova of many servers that takes its time and changes some of them all the while."""

import random
import threading
import time
import uuid
from collections import deque
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bench.nova import FLAVOR, build_server

Json = dict[str, Any]

MAX_PAGE = 1000
SERVER_SECONDS = 0.08
"""Seconds that Nova takes for one server."""
LIST_SECONDS, LISTED_SERVER_SECONDS = 0.22, 0.0064
"""Seconds that it takes for a list, and for each server in it: 0.35 s for 20, 0.86 s for 100."""
CHANGE_TICK = 0.01
CREATED_AT = "2026-01-01T00:00:00Z"


class LargeNova:
    """So many servers, of which so many change each second: each gets the time as its name."""

    def __init__(self, number: int, changes_per_second: float) -> None:
        ids = sorted(str(uuid.UUID(int=random.getrandbits(128))) for _ in range(number))
        self._servers = {
            vm_id: build_server(vm_id, f"vm-{place}")
            | {"status": "ACTIVE", "created": CREATED_AT, "updated": CREATED_AT}
            for place, vm_id in enumerate(ids)
        }
        self._ids = ids
        self._places = {vm_id: place for place, vm_id in enumerate(ids)}
        self._changes: deque[tuple[float, str]] = deque(maxlen=100_000)
        self._changes_per_second = changes_per_second
        if changes_per_second:
            threading.Thread(target=self._change, daemon=True).start()

    def handle(self, method: str, path: str, body: Json | None) -> tuple[int, Json | None]:
        """Answer a request for servers; nothing can be changed through it."""
        url = urlsplit(path)
        asked = {name: values[-1] for name, values in parse_qs(url.query).items()}
        match method, *url.path.strip("/").split("/"):
            case "GET", "flavors", "detail":
                return 200, {"flavors": [FLAVOR]}
            case "GET", "servers", "detail":
                return 200, self._page(asked)
            case "GET", "servers", vm_id if vm_id in self._servers:
                time.sleep(SERVER_SECONDS)
                return 200, {"server": self._servers[vm_id]}
        return 404, {"itemNotFound": {"message": "Instance could not be found."}}

    def _page(self, asked: dict[str, str]) -> Json:
        ids = self._ids
        if "changes-since" in asked:
            since = datetime.fromisoformat(asked["changes-since"])
            ids = sorted(self._changed(since.timestamp()), key=self._places.__getitem__)
        if marker := asked.get("marker"):
            ids = [each for each in ids if self._places[each] > self._places[marker]]
        size = min(int(asked.get("limit", MAX_PAGE)), MAX_PAGE)
        shown, more = ids[:size], len(ids) > size
        # what is seen is what there was when it was asked, however long the answer takes
        page: Json = {"servers": [dict(self._servers[vm_id]) for vm_id in shown]}
        if more:
            link = f"http://127.0.0.1/servers/detail?limit={size}&marker={shown[-1]}"
            page["servers_links"] = [{"rel": "next", "href": link}]
        time.sleep(LIST_SECONDS + LISTED_SERVER_SECONDS * len(shown))
        return page

    def _changed(self, since: float) -> set[str]:
        found = set()
        for at, vm_id in reversed(self._changes):
            if int(at) < since:
                break
            found.add(vm_id)
        return found

    def _change(self) -> None:
        begun, done = time.monotonic(), 0
        while True:
            time.sleep(CHANGE_TICK)
            due = int((time.monotonic() - begun) * self._changes_per_second)
            for _ in range(due - done):
                now, vm_id = time.time(), random.choice(self._ids)
                moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                self._servers[vm_id] |= {"name": f"vm-{now:.3f}", "updated": moment}
                self._changes.append((now, vm_id))
            done = due
