"""Telling that a cloud is away, so that nobody waits for it, and that it is back.

A failure counts when the cloud has answered nobody since that call began: one VM whose host is dead
is not the cloud. After the first one the cloud is pinged, once a second, until it answers.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import structlog

from vmapi.concurrency.probe_loop import ProbeLoop
from vmapi.errors import BackendUnavailable, VmapiError

log = structlog.get_logger("vmapi.backend")

FAILURE_THRESHOLD = 3
"""Calls in a row without an answer, after which the cloud is away."""

PROBE_INTERVAL = 1.0
"""Seconds between two pings of a cloud that did not answer."""

OPEN_RETRY_AFTER = 2
"""Seconds after which a client that was refused may find the cloud back."""

SLOW_CALL_THRESHOLD = 1.0
"""Seconds after which a call that has no answer yet is a reason to leave the cloud alone."""


class CircuitBreaker:
    """Open while the cloud is away: then calls are refused at once, and none but pings are sent.

    `ping` asks the cloud for something cheap, `monotonic` tells the time in seconds.
    """

    def __init__(
        self, ping: Callable[[], None], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._ping = ping
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._in_flight: dict[object, float] = {}
        self._responses = 0
        self._consecutive_failures = 0
        self._opened_at: float | None = None
        self._reason = ""
        self._probe_loop = ProbeLoop(
            "breaker-probe", PROBE_INTERVAL, self.probe, lambda: self._consecutive_failures > 0
        )

    @property
    def is_open(self) -> bool:
        """Whether calls are refused."""
        return self._opened_at is not None

    @property
    def is_suspect(self) -> bool:
        """Whether the cloud did not answer the last call, or lets one wait: it may be away."""
        slow = self._monotonic() - SLOW_CALL_THRESHOLD
        return self._consecutive_failures > 0 or any(
            begun < slow for begun in list(self._in_flight.values())
        )

    def raise_if_open(self) -> None:
        """Raise BackendUnavailable while the cloud is away."""
        if self.is_open:
            self._probe_loop.start()
            said = f"{self._reason} Nothing was sent: vmapi waits for the cloud to answer again."
            raise BackendUnavailable(said, retry_after=OPEN_RETRY_AFTER)

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Surround a call to the cloud. Raises BackendUnavailable while the cloud is away."""
        self.raise_if_open()
        with self._recording():
            yield

    def probe(self) -> None:
        """Ping the cloud; its answer ends that it is away."""
        with suppress(VmapiError), self._recording():
            self._ping()

    def stop_probing(self) -> None:
        """Ping the cloud no more by itself."""
        self._probe_loop.stop()

    @contextmanager
    def _recording(self) -> Iterator[None]:
        call, before = object(), self._responses
        self._in_flight[call] = self._monotonic()
        try:
            yield
            self._record_response()
        except VmapiError as error:
            if error.backend_unresponsive:
                self._record_failure(error, before)
            else:
                self._record_response()
            raise
        finally:
            del self._in_flight[call]

    def _record_response(self) -> None:
        with self._lock:
            self._responses += 1
            self._consecutive_failures = 0
            opened, self._opened_at = self._opened_at, None
        if opened is not None:
            seconds = round(self._monotonic() - opened, 1)
            log.info("the cloud answers again", seconds=seconds)

    def _record_failure(self, error: VmapiError, responses_at_start: int) -> None:
        with self._lock:
            if self._responses != responses_at_start:
                return
            self._consecutive_failures += 1
            self._reason = error.detail
            opens = self._consecutive_failures >= FAILURE_THRESHOLD and self._opened_at is None
            if opens:
                self._opened_at = self._monotonic()
        if opens:
            log.warning("the cloud is away: nothing is sent until it answers", reason=error.detail)
        self._probe_loop.start()
