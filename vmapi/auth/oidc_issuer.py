"""An OpenID Connect issuer: discovers (Discovery 1.0), fetches and caches its keys."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import structlog

from vmapi.auth.json_fetch import FetchError, fetch_json_object
from vmapi.auth.jwks import VerificationKey, parse_jwks, select_key
from vmapi.concurrency.bulkhead import Bulkhead
from vmapi.errors import IssuerUnavailable, Unauthenticated
from vmapi.telemetry.metrics.catalog import BULKHEAD_REFUSALS

log = structlog.get_logger("vmapi.security")

DISCOVERY_PATH = "/.well-known/openid-configuration"

#: Seconds until the keys are fetched again, so that a key that the issuer withdraws is dropped.
JWKS_TTL = 300.0

#: Seconds between two fetches. Tokens with invented key ids cannot cause more.
REFETCH_COOLDOWN = 5.0

KEY_WAIT_TIMEOUT = 2.0
"""Seconds that a request with an unknown key waits for a fetch."""

SLOTS = 2
"""Requests that may wait for a fetch at the same time, by default."""


class OIDCIssuer:
    """Provides the keys of one issuer. The first use fetches them.

    The `executor` fetches, so that an issuer that hangs holds no request with a known key. Stale
    keys stay in use during a fetch, and while the issuer is unavailable. At most `slots` requests
    with an unknown key wait for a fetch, each for `KEY_WAIT_TIMEOUT` at most.
    """

    def __init__(
        self,
        url: str,
        *,
        fetch: Callable[[str], dict[str, Any]] = fetch_json_object,
        monotonic: Callable[[], float] = time.monotonic,
        executor: Executor | None = None,
        slots: int = SLOTS,
    ) -> None:
        self._url = url
        self._fetch = fetch
        self._monotonic = monotonic
        self._executor = executor or ThreadPoolExecutor(1, thread_name_prefix="oidc-issuer")
        self._bulkhead = Bulkhead(slots, _refuse_crowd)
        self._lock = threading.Lock()
        self._fetch_in_progress: Future[None] | None = None
        self._keys: tuple[VerificationKey, ...] = ()
        self._fetched_at: float | None = None
        self._attempted_at: float | None = None

    def find_key(self, key_id: str | None, algorithm: str) -> VerificationKey:
        """Return the key that a token names. Raises Unauthenticated, IssuerUnavailable."""
        key = select_key(self._keys, key_id, algorithm)
        if key is None:
            self._wait_for_fetch()
            key = select_key(self._keys, key_id, algorithm)
        elif self._is_stale():
            self._start_fetch()
        if key is not None:
            return key
        if self._fetched_at is None:
            raise _issuer_unavailable()
        raise Unauthenticated("The issuer does not have this token's key.", credentials_sent=True)

    def _is_stale(self) -> bool:
        fetched_at = self._fetched_at
        return fetched_at is not None and self._monotonic() - fetched_at >= JWKS_TTL

    def _is_cooling_down(self) -> bool:
        attempted_at = self._attempted_at
        return attempted_at is not None and self._monotonic() - attempted_at < REFETCH_COOLDOWN

    def _wait_for_fetch(self) -> None:
        """Wait until a fetch ends, unless the last one was just now. Raises IssuerUnavailable."""
        fetch = self._start_fetch()
        if fetch is None:
            return
        with self._bulkhead.occupying():
            try:
                fetch.result(KEY_WAIT_TIMEOUT)
            except TimeoutError:
                raise _issuer_unavailable() from None

    def _start_fetch(self) -> Future[None] | None:
        """Return the fetch in progress or a new one; None in the cooldown or without a thread."""
        with self._lock:
            if self._fetch_in_progress is None or self._fetch_in_progress.done():
                if self._is_cooling_down():
                    return None
                self._attempted_at = self._monotonic()
                try:
                    self._fetch_in_progress = self._executor.submit(self._refresh_keys)
                except RuntimeError:
                    # no thread is free: the next fetch is due after the cooldown
                    return None
            return self._fetch_in_progress

    def _refresh_keys(self) -> None:
        started_at = self._monotonic()
        try:
            self._keys = self._fetch_keys()
        except FetchError as error:
            log.warning("issuer keys cannot be fetched", reason=str(error))
        else:
            self._fetched_at = started_at

    def _fetch_keys(self) -> tuple[VerificationKey, ...]:
        metadata = self._fetch(self._url.rstrip("/") + DISCOVERY_PATH)
        if metadata.get("issuer") != self._url:
            # section 4.3: otherwise one issuer could impersonate another
            raise FetchError(f"{self._url} calls itself {metadata.get('issuer')!r}")
        keys = parse_jwks(self._fetch(str(metadata.get("jwks_uri"))))
        if not keys:
            raise FetchError(f"{self._url} has no usable key")
        return keys


def _refuse_crowd() -> IssuerUnavailable:
    BULKHEAD_REFUSALS.increment("issuer")
    return _issuer_unavailable()


def _issuer_unavailable() -> IssuerUnavailable:
    return IssuerUnavailable("The issuer's keys cannot be fetched.")
