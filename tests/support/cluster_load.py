"""Clients that change and read VMs without pause, and count the responses."""

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from tests.support.http_client import HttpClient, HttpResponse, wait_until
from tests.support.stateful_nova import StatefulNova

WRITERS = 4
READERS = 2
FINAL_STATUSES = (200, 201, 204)
REPEATABLE_STATUSES = (429, 502, 503, 504)
BUSY_CODES = ("task_in_progress", "idempotency_in_progress")
MAX_REPEAT_SECONDS = 200.0
"""How long a client repeats one request: longer than `CREATE_RECOVERY_WINDOW`.

vmapi searches so long for the VM if a process died between the save and the response of a create.
"""

RESPONSE_TIMEOUT_SECONDS = 60.0
NEW_VM = {"flavor": "m1.tiny", "image": "cirros"}


@dataclass
class LoadReport:
    """Responses by status and code, bad responses, and the names of the VMs.

    `foreign` are errors without a problem document, `cut` are requests without a whole response.
    """

    responses: Counter[str] = field(default_factory=Counter)
    foreign: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    longest_repeat_seconds: float = 0.0


def check_exactly_once(nova: StatefulNova, report: LoadReport) -> None:
    """Check that no request was lost, and that Nova made each VM once, and deleted it."""
    assert (report.foreign, report.cut) == ([], [])
    creates = {name: nova.creates[name] for name in report.names}
    assert creates == dict.fromkeys(report.names, 1)
    wait_until("the deletes", lambda: not nova.list_live())


class ClusterClients:
    """Clients of one address. Each repeats a request as the contract allows.

    `max_repeat_seconds` limits the repeats of one request.

    Each pauses for `pause_seconds` after a VM or a list. `on_response` gets the method and the
    seconds of each response.
    """

    max_repeat_seconds = MAX_REPEAT_SECONDS

    def __init__(
        self,
        port: int,
        new_vm: dict[str, str] = NEW_VM,
        name_prefix: str = "",
        pause_seconds: float = 0.0,
        on_response: Callable[[str, float], None] = lambda *_: None,
    ) -> None:
        self.report = LoadReport()
        self._new_vm = new_vm
        self._name_prefix = name_prefix
        self._pause_seconds = pause_seconds
        self._on_response = on_response
        self._http = HttpClient(port, RESPONSE_TIMEOUT_SECONDS)
        self._stopped = threading.Event()

    @contextmanager
    def running(self) -> Iterator[LoadReport]:
        """Change and read VMs during the block; each change that has begun is completed."""
        with ThreadPoolExecutor(WRITERS + READERS) as pool:
            clients = [pool.submit(self._write, number) for number in range(WRITERS)]
            clients += [pool.submit(self._read) for _ in range(READERS)]
            try:
                yield self.report
            finally:
                self._stopped.set()
            for client in clients:
                client.result()

    def _write(self, number: int) -> None:
        run = f"{self._name_prefix}{uuid.uuid4().hex[:8]}"
        while not self._stopped.is_set():
            name = f"{run}-{number}-{len(self.report.names)}"
            self.report.names.append(name)
            vm = self.send("POST", "/vms", {"name": name, **self._new_vm}).json
            for action in ("start", "stop"):
                self.send("POST", f"/vms/{vm['id']}/{action}")
            self.send("DELETE", f"/vms/{vm['id']}")
            self._stopped.wait(self._pause_seconds)

    def _read(self) -> None:
        while not self._stopped.is_set():
            page = self.send("GET", "/vms?page_size=20").json
            for vm in page["items"][:3]:
                self.send("GET", f"/vms/{vm['id']}", missing_ok=True)
            self._stopped.wait(self._pause_seconds)

    def send(
        self, method: str, path: str, body: Any = None, *, missing_ok: bool = False
    ) -> HttpResponse:
        """Send a request, under one key, until it has its final response."""
        headers = {"Prefer": "wait=10"}
        if method != "GET":
            headers["Idempotency-Key"] = str(uuid.uuid4())
        began_at = time.monotonic()
        while True:
            response = self._send_once(method, path, body, headers)
            repeat_seconds = time.monotonic() - began_at
            if response is not None:
                if response.status in FINAL_STATUSES or (missing_ok and response.status == 404):
                    break
                if not self._may_repeat(response):
                    raise AssertionError((method, path, response.status, response.body))
            assert repeat_seconds < self.max_repeat_seconds, (method, path, headers, response)
            time.sleep(random.uniform(0.1, 0.4))
        self.report.longest_repeat_seconds = max(self.report.longest_repeat_seconds, repeat_seconds)
        return response

    def _send_once(
        self, method: str, path: str, body: Any, headers: dict[str, str]
    ) -> HttpResponse | None:
        sent_at = time.monotonic()
        try:
            response = self._http(method, f"/api/v1{path}", body, headers=headers)
        except (OSError, HTTPException) as error:
            self.report.cut.append(f"{method} {path}: {error!r}")
            return None
        self._on_response(method, time.monotonic() - sent_at)
        is_problem = response.content_type == "application/problem+json"
        code = response.json["code"] if is_problem else ""
        self.report.responses[f"{response.status} {code}".strip()] += 1
        if response.status >= 400 and not is_problem:
            self.report.foreign.append(f"{method} {path}: {response.status} {response.body!r}")
        return response

    def _may_repeat(self, response: HttpResponse) -> bool:
        if response.status == 202 or response.status in REPEATABLE_STATUSES:
            return True
        return response.status == 409 and response.json["code"] in BUSY_CODES
