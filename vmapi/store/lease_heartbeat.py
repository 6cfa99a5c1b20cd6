"""The heartbeat of a process: one thread that renews all its leases.

Operation leases and leader leases register their renewals here. The thread starts with the first
lease and runs until the store closes. A process that dies stops renewing: its leases expire, and
other processes take them over.
"""

import threading
from collections.abc import Callable

import structlog

from vmapi.errors import StoreUnavailable

log = structlog.get_logger("vmapi.store")

HEARTBEAT_INTERVAL = 1.25
"""Seconds between two renewals: a quarter of the shortest lease, so that three may fail."""


class LeaseHeartbeat:
    """Calls every registered renewal each `interval` seconds. Thread-safe."""

    def __init__(self, interval: float = HEARTBEAT_INTERVAL) -> None:
        self._interval = interval
        self._renewals: list[Callable[[], None]] = []
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def register(self, renew: Callable[[], None]) -> None:
        """Add a renewal; it may raise StoreUnavailable."""
        self._renewals.append(renew)

    def start(self) -> None:
        """Start the thread, unless it runs or the heartbeat is closed."""
        with self._lock:
            if self._thread is None and not self._closing.is_set():
                thread = threading.Thread(target=self._run, name="lease-heartbeat", daemon=True)
                thread.start()
                self._thread = thread

    def close(self) -> bool:
        """Stop the thread and wait for its end; return whether it ever ran."""
        self._closing.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()
        return thread is not None

    def _run(self) -> None:
        while not self._closing.wait(self._interval):
            for renew in self._renewals:
                try:
                    renew()
                except StoreUnavailable as error:
                    log.debug("store unavailable, leases not renewed", reason=error.detail)
                except Exception:
                    log.exception("lease renewal failed")
