"""Telling that a cloud is away, so that nobody waits for it, and that it is back.

A failure counts when the cloud has answered nobody since that call began: one VM whose host is dead
is not the cloud. After the first one the cloud is pinged, once a second, until it answers.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import structlog

from vmapi.errors import BackendUnavailable, VmapiError

log = structlog.get_logger("vmapi.backend")

FAILURES = 3
"""Calls in a row without an answer, after which the cloud is away."""

PAUSE = 1.0
"""Seconds between two pings of a cloud that did not answer."""

RETRY_AFTER = 2
"""Seconds after which a client that was refused may find the cloud back."""

SLOW = 1.0
"""Seconds after which a call that has no answer yet is a reason to leave the cloud alone."""


class Breaker:
    """Open while the cloud is away: then calls are refused at once, and none but pings are sent.

    `ping` asks the cloud for something cheap, `monotonic` tells the time in seconds.
    """

    def __init__(
        self, ping: Callable[[], None], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._ping = ping
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._flying: dict[object, float] = {}
        self._answers = 0
        self._failures = 0
        self._opened: float | None = None
        self._reason = ""
        self._pinging = False
        self._stopped = threading.Event()

    @property
    def open(self) -> bool:
        """Whether calls are refused."""
        return self._opened is not None

    @property
    def away(self) -> bool:
        """Whether the cloud did not answer the last call, or lets one wait: it may be away."""
        slow = self._monotonic() - SLOW
        return self._failures > 0 or any(begun < slow for begun in list(self._flying.values()))

    def ensure(self) -> None:
        """Raise BackendUnavailable while the cloud is away."""
        if self.open:
            self._start()
            said = f"{self._reason} Nothing was sent: vmapi waits for the cloud to answer again."
            raise BackendUnavailable(said, retry_after=RETRY_AFTER)

    @contextmanager
    def call(self) -> Iterator[None]:
        """Surround a call to the cloud. Raises BackendUnavailable while the cloud is away."""
        self.ensure()
        with self._watched():
            yield

    def probe(self) -> None:
        """Ping the cloud; its answer ends that it is away."""
        with suppress(VmapiError), self._watched():
            self._ping()

    def stop(self) -> None:
        """Ping the cloud no more by itself."""
        self._stopped.set()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        call, before = object(), self._answers
        self._flying[call] = self._monotonic()
        try:
            yield
            self._answered()
        except VmapiError as error:
            if error.away:
                self._failed(error, before)
            else:
                self._answered()
            raise
        finally:
            del self._flying[call]

    def _answered(self) -> None:
        with self._lock:
            self._answers += 1
            self._failures = 0
            opened, self._opened = self._opened, None
        if opened is not None:
            seconds = round(self._monotonic() - opened, 1)
            log.info("the cloud answers again", seconds=seconds)

    def _failed(self, error: VmapiError, before: int) -> None:
        with self._lock:
            if self._answers != before:
                return
            self._failures += 1
            self._reason = error.detail
            opens = self._failures >= FAILURES and self._opened is None
            if opens:
                self._opened = self._monotonic()
        if opens:
            log.warning("the cloud is away: nothing is sent until it answers", reason=error.detail)
        self._start()

    def _start(self) -> None:
        with self._lock:
            if self._pinging or self._stopped.is_set() or not self._failures:
                return
            # without a thread to be had, the next call tries again
            with suppress(RuntimeError):
                threading.Thread(target=self._keep_pinging, name="breaker", daemon=True).start()
                self._pinging = True

    def _keep_pinging(self) -> None:
        while not self._stopped.wait(PAUSE):
            with self._lock:
                self._pinging = self._failures > 0
                if not self._pinging:
                    return
            try:
                self.probe()
            except Exception:
                log.exception("the cloud cannot be pinged")
