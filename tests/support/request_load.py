"""Requests of several clients that run until they are stopped, each on a new connection."""

import threading
import time
import uuid
from itertools import count
from types import TracebackType

from tests.support.http_client import HttpClient, HttpResponse, wait_until

CLIENTS = 3
BUSY_CODES = ("backend_unavailable", "backend_timeout")
"""Codes of a busy in-memory cloud: a client repeats its request with the same key."""

MAX_REPEATS = 100
REPEAT_SECONDS = 0.2


class RequestLoad:
    """Clients that list VMs and create some, in a `with` block; they record each outcome."""

    def __init__(self, call: HttpClient) -> None:
        self._call = call
        self._stopped = threading.Event()
        self._numbers = count()
        self.outcomes: list[int | str] = []
        self._threads = [threading.Thread(target=self._send) for _ in range(CLIENTS)]

    def __enter__(self) -> "RequestLoad":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def wait_for_responses(self, number: int = 20) -> None:
        """Wait for further outcomes."""
        target = len(self.outcomes) + number
        wait_until("responses", lambda: len(self.outcomes) >= target)

    def _send(self) -> None:
        while not self._stopped.is_set():
            self.outcomes.append(self._send_two())

    def _send_two(self) -> int | str:
        body = {"name": f"load-{next(self._numbers)}", "flavor": "m1.tiny", "image": "cirros"}
        try:
            listed = self._call("GET", "/api/v1/vms?page_size=1")
            created = self._create(body)
        except OSError as error:
            return repr(error)
        failed = next((r for r in (listed, created) if r.status >= 300), None)
        return created.status if failed is None else failed.body.decode()

    def _create(self, body: dict[str, str]) -> HttpResponse:
        key = {"Idempotency-Key": str(uuid.uuid4())}
        created = self._call("POST", "/api/v1/vms", body, headers=key)
        for _ in range(MAX_REPEATS):
            if created.status < 500 or created.json["code"] not in BUSY_CODES:
                break
            time.sleep(REPEAT_SECONDS)
            created = self._call("POST", "/api/v1/vms", body, headers=key)
        return created
