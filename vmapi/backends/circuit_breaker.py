"""A circuit breaker that refuses calls while the cloud is unreachable.

`CircuitBreakerBackend` wraps every call to the cloud in `CircuitBreaker.calling`.

- A call fails if its error has `backend_unresponsive`. Any other error is a response.
- A failure counts only if no call got a response since the failing call began: one VM with a dead
  host does not open the breaker.
- After the first failure a thread probes the cloud with pings until one of them gets a response.
- While the breaker is open, only probes are sent. A client's call never serves as the probe: that
  call could be a change.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import structlog

from vmapi.concurrency.probe_loop import ProbeLoop
from vmapi.errors import BackendUnavailable, VmapiError
from vmapi.telemetry.metrics.catalog import CIRCUIT_BREAKER_OPEN
from vmapi.telemetry.operator_text import operator_text

log = structlog.get_logger("vmapi.backend")

FAILURE_THRESHOLD = 3
"""Consecutive failures that open the breaker."""

PROBE_INTERVAL = 1.0
"""Seconds between two probes."""

OPEN_RETRY_AFTER = 2
"""Seconds of `Retry-After` while the breaker is open: the breaker has sent one more probe."""

SLOW_CALL_THRESHOLD = 1.0
"""Seconds without a response after which a call in flight makes the cloud suspect."""


class CircuitBreaker:
    """Closed while the cloud responds, open after several consecutive failures."""

    def __init__(
        self,
        ping: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
        probe_interval: float = PROBE_INTERVAL,
    ) -> None:
        """Create a circuit breaker, closed at first.

        `ping` sends a cheap request to the cloud. `monotonic` and `probe_interval` are in seconds.
        """
        self._ping = ping
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._in_flight: dict[object, float] = {}
        self._responses = 0
        self._consecutive_failures = 0
        self._opened_at: float | None = None
        self._reason = ""
        CIRCUIT_BREAKER_OPEN.set(0, "cloud")
        self._probe_loop = ProbeLoop(
            "breaker-probe", probe_interval, self.probe, lambda: self._consecutive_failures > 0
        )

    @property
    def is_open(self) -> bool:
        """Whether calls are refused."""
        return self._opened_at is not None

    @property
    def is_suspect(self) -> bool:
        """Whether the last call failed, or a call in flight is slow."""
        slow_since = self._monotonic() - SLOW_CALL_THRESHOLD
        return self._consecutive_failures > 0 or any(
            started_at < slow_since for started_at in list(self._in_flight.values())
        )

    def raise_if_open(self) -> None:
        """Raise BackendUnavailable while the breaker is open."""
        if self.is_open:
            self._probe_loop.start()
            detail = f"{self._reason} Nothing was sent: vmapi waits until the cloud responds again."
            raise BackendUnavailable(detail, retry_after=OPEN_RETRY_AFTER)

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Surround a call to the cloud.

        Raises BackendUnavailable while the breaker is open.
        """
        self.raise_if_open()
        with self._recording():
            yield

    def probe(self) -> None:
        """Ping the cloud. A response closes the breaker."""
        with suppress(VmapiError), self._recording():
            self._ping()

    def stop_probing(self) -> None:
        """Stop the probe thread, for good."""
        self._probe_loop.stop()

    @contextmanager
    def _recording(self) -> Iterator[None]:
        call, responses_at_start = object(), self._responses
        self._in_flight[call] = self._monotonic()
        try:
            yield
            self._record_response()
        except VmapiError as error:
            if error.backend_unresponsive:
                self._record_failure(error, responses_at_start)
            else:
                self._record_response()
            raise
        finally:
            del self._in_flight[call]

    def _record_response(self) -> None:
        with self._lock:
            self._responses += 1
            self._consecutive_failures = 0
            opened_at, self._opened_at = self._opened_at, None
        if opened_at is not None:
            CIRCUIT_BREAKER_OPEN.set(0, "cloud")
            seconds = round(self._monotonic() - opened_at, 1)
            log.info("circuit breaker closed", seconds=seconds)

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
            CIRCUIT_BREAKER_OPEN.set(1, "cloud")
            log.warning("circuit breaker opened", reason=operator_text(error))
        self._probe_loop.start()
