"""Bounds on requests to a Keystone that does not answer: a bulkhead and a circuit breaker.

Each token that is not cached costs a request to Keystone. While Keystone hangs, few threads wait
for it; after `FAILURE_THRESHOLD` calls without a response no request waits. A thread then sends a
request without a token until Keystone responds.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import structlog

from vmapi.concurrency.bulkhead import Bulkhead
from vmapi.concurrency.probe_loop import ProbeLoop
from vmapi.errors import IssuerUnavailable
from vmapi.telemetry.metrics.catalog import BULKHEAD_REFUSALS, CIRCUIT_BREAKER_OPEN

log = structlog.get_logger("vmapi.security")

FAILURE_THRESHOLD = 3
"""Calls in a row without a response after which no call is sent."""

KEYSTONE_PROBE_INTERVAL = 1.0
"""Seconds between two probes."""

KEYSTONE_RETRY_AFTER = 2
"""Seconds of `Retry-After` for a request that vmapi does not send to Keystone."""

SLOTS = 4
"""Requests that may wait for Keystone at the same time, by default."""


class KeystoneUnresponsive(IssuerUnavailable):
    """Keystone sent no response.

    Clients see the code `issuer_unavailable`; `reason` is for the operator.
    """

    reason: str = ""


class KeystoneBreaker:
    """Surrounds the calls to one Keystone; `ping` raises KeystoneUnresponsive."""

    def __init__(
        self,
        ping: Callable[[], None],
        slots: int = SLOTS,
        probe_interval: float = KEYSTONE_PROBE_INTERVAL,
    ) -> None:
        self._ping = ping
        self._bulkhead = Bulkhead(slots, _refuse_crowd)
        self._lock = threading.Lock()
        self._failures = 0
        CIRCUIT_BREAKER_OPEN.set(0, "keystone")
        self._probe_loop = ProbeLoop(
            "keystone-probe", probe_interval, self._probe, lambda: self.is_open
        )

    @property
    def is_open(self) -> bool:
        """Whether calls are refused."""
        return self._failures >= FAILURE_THRESHOLD

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Surround a call. Raises IssuerUnavailable while Keystone does not respond."""
        self._raise_if_open()
        with self._bulkhead.occupying():
            # the breaker may have opened while this request waited
            self._raise_if_open()
            with self._recording():
                yield

    def stop_probing(self) -> None:
        """Stop the probes for good."""
        self._probe_loop.stop()

    def _raise_if_open(self) -> None:
        if self.is_open:
            self._probe_loop.start()
            raise _refusal()

    @contextmanager
    def _recording(self) -> Iterator[None]:
        try:
            yield
        except KeystoneUnresponsive:
            with self._lock:
                self._failures += 1
                opens = self._failures == FAILURE_THRESHOLD
            if opens:
                CIRCUIT_BREAKER_OPEN.set(1, "keystone")
                log.warning("Keystone does not respond: its tokens are not validated")
            raise
        else:
            self._record_response()

    def _record_response(self) -> None:
        with self._lock:
            was_open, self._failures = self.is_open, 0
        if was_open:
            CIRCUIT_BREAKER_OPEN.set(0, "keystone")
            log.info("Keystone responds again")

    def _probe(self) -> None:
        with suppress(KeystoneUnresponsive):
            self._ping()
            self._record_response()


def _refuse_crowd() -> IssuerUnavailable:
    BULKHEAD_REFUSALS.increment("keystone")
    return _refusal()


def _refusal() -> IssuerUnavailable:
    error = IssuerUnavailable("Keystone does not answer: this token cannot be validated.")
    error.retry_after = KEYSTONE_RETRY_AFTER
    return error
