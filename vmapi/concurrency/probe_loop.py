"""Probe an unavailable service in the background until it responds again.

The circuit breaker probes the cloud, and the rate counters probe Redis. Both report a failure with
`start`, and so does each later call that finds the service unavailable. Invariant: at most one
probe thread runs for a loop, and one runs while the service is unavailable.
"""

import threading
from collections.abc import Callable
from contextlib import suppress

import structlog

log = structlog.get_logger("vmapi.probe")


class ProbeLoop:
    """A thread that calls `probe` every `interval` seconds while `is_needed` returns True.

    `probe` handles the expected errors of the service; others are logged.
    """

    def __init__(
        self,
        name: str,
        interval: float,
        probe: Callable[[], object],
        is_needed: Callable[[], bool],
    ) -> None:
        self._name = name
        self._interval = interval
        self._probe = probe
        self._is_needed = is_needed
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start the thread, unless it runs, is not needed, or the loop is stopped."""
        with self._lock:
            if self._thread is not None or self._stopped.is_set() or not self._is_needed():
                return
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            # without a free thread, the next failure starts the loop
            with suppress(RuntimeError):
                thread.start()
                self._thread = thread

    def stop(self, *, wait: bool = False) -> None:
        """Stop the loop for good; `wait` for a probe in progress."""
        self._stopped.set()
        with self._lock:
            thread = self._thread
        if wait and thread is not None:
            thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._interval):
            with self._lock:
                # under the lock: a failure after this check starts a new thread
                if not self._is_needed():
                    self._thread = None
                    return
            try:
                self._probe()
            except Exception:
                log.exception("probe failed", probe=self._name)
