"""The faults of the soak: each in turn, with quiet times between them."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import cycle
from typing import Any

from tests.support.live.nova_proxy import NovaProxy, ProxyReply
from tests.support.processes import Gunicorn

METHODS = ("GET", "POST", "PUT", "DELETE")
SLOW_RESPONSE_SECONDS = 1.5
MAX_OUTAGE_SECONDS = 15.0
BUSY_BODY = b'{"serviceUnavailable": {"code": 503, "message": "Busy."}}'
BUSY_REPLY = ProxyReply(
    503,
    BUSY_BODY,
    (
        ("Content-Type", "application/json"),
        ("X-Openstack-Request-Id", "req-00000000-0000-4000-8000-000000000000"),
        ("Retry-After", "1"),
    ),
)


class FaultPlan:
    """Injects a fault every `interval` seconds, for a third of the interval at most.

    `current` is the name of the present fault, empty in quiet times. `names` lists all in order.
    """

    def __init__(
        self,
        proxy: NovaProxy,
        server: Gunicorn,
        interval: float,
        restart_database: Callable[[], None] | None = None,
    ) -> None:
        self._proxy, self._server, self._interval = proxy, server, interval
        self._outage_seconds = min(MAX_OUTAGE_SECONDS, interval / 3)
        self._stopped = threading.Event()
        self.current = ""
        self.names: list[str] = []
        self._faults: dict[str, Callable[[], None]] = {
            "Nova is unavailable": self._refuse_requests,
            "responses to creates are lost": self._lose_creates,
            "Nova is slow": self._delay_responses,
            "a worker is killed": self.kill_newest_worker,
            "reads are reset": self._reset_reads,
        }
        if restart_database is not None:
            self._faults["the database is restarted"] = restart_database

    @contextmanager
    def running(self) -> Iterator[None]:
        """Inject faults during the block."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join()

    def kill_newest_worker(self) -> None:
        """Send SIGKILL to the newest worker: the oldest one is the one that is measured."""
        with suppress(ProcessLookupError):
            os.kill(max(self._server.child_pids()), signal.SIGKILL)
        self._stopped.wait(self._outage_seconds)

    def _run(self) -> None:
        for name, inject in cycle(self._faults.items()):
            if self._stopped.wait(self._interval - self._outage_seconds):
                return
            self.current = name
            self.names.append(name)
            inject()
            self.current = ""

    def _refuse_requests(self) -> None:
        self._fault_proxy(METHODS, is_forwarded=False, transform=lambda _: BUSY_REPLY)

    def _lose_creates(self) -> None:
        self._fault_proxy(("POST",), r"/servers$", is_lost=True)

    def _delay_responses(self) -> None:
        self._fault_proxy(METHODS, run_before=lambda: self._stopped.wait(SLOW_RESPONSE_SECONDS))

    def _reset_reads(self) -> None:
        self._fault_proxy(("GET",), is_forwarded=False, is_lost=True)

    def _fault_proxy(self, methods: tuple[str, ...], path: str = "", **options: Any) -> None:
        """Inject a fault into the requests of some methods, for the time of an outage."""
        with ExitStack() as stack:
            for method in methods:
                stack.enter_context(self._proxy.inject_fault(method, path, **options))
            self._stopped.wait(self._outage_seconds)
