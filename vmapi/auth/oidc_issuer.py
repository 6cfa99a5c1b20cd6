"""An OpenID Connect issuer: where its keys are (Discovery 1.0), and which they are by now."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import structlog

from vmapi.auth import jwks as keys
from vmapi.auth.json_fetch import FetchError, fetch_json_object
from vmapi.auth.jwks import VerificationKey
from vmapi.errors import IssuerUnavailable, Unauthenticated

log = structlog.get_logger("vmapi.security")

DISCOVERY_PATH = "/.well-known/openid-configuration"

JWKS_TTL = 300.0
"""Seconds after which keys are asked for again, so that one that is withdrawn goes here too."""

REFETCH_COOLDOWN = 5.0
"""Seconds between two attempts: who sends made-up key ids has nothing fetched beyond that."""


class OIDCIssuer:
    """Keeps the keys of one issuer, also while it is away. Nothing is fetched before it is needed.

    What is only old is fetched `aside`; a request waits only for keys that are not known.
    """

    def __init__(
        self,
        url: str,
        *,
        fetch: Callable[[str], dict[str, Any]] = fetch_json_object,
        monotonic: Callable[[], float] = time.monotonic,
        executor: Executor | None = None,
    ) -> None:
        self._url = url
        self._fetch = fetch
        self._monotonic = monotonic
        self._executor = executor or ThreadPoolExecutor(1, thread_name_prefix="issuer")
        self._lock = threading.Lock()
        self._keys: tuple[VerificationKey, ...] = ()
        self._fetched_at: float | None = None
        self._attempted_at: float | None = None

    def find_key(self, key_id: str | None, algorithm: str) -> VerificationKey:
        """Return the key that a token names. Raises Unauthenticated, IssuerUnavailable."""
        known, fetched = self._keys, self._fetched_at
        found = keys.select_key(known, key_id, algorithm)
        if found is None:
            self._refresh_keys(fetched)
            found = keys.select_key(self._keys, key_id, algorithm)
        elif self._is_stale(fetched) and not self._is_cooling_down():
            self._executor.submit(self._refresh_keys, fetched)
        if found is not None:
            return found
        if self._fetched_at is None:
            raise IssuerUnavailable("The issuer's keys cannot be fetched.")
        raise Unauthenticated("This token's key is none of the issuer's.", credentials_sent=True)

    def _is_stale(self, fetched_at: float | None) -> bool:
        return fetched_at is not None and self._monotonic() - fetched_at >= JWKS_TTL

    def _is_cooling_down(self) -> bool:
        return (
            self._attempted_at is not None
            and self._monotonic() - self._attempted_at < REFETCH_COOLDOWN
        )

    def _refresh_keys(self, known_fetched_at: float | None) -> None:
        with self._lock:
            # who waited for the lock finds what another has fetched
            if self._fetched_at != known_fetched_at or self._is_cooling_down():
                return
            self._attempted_at = self._monotonic()
            try:
                self._keys = self._fetch_keys()
            except FetchError as failed:
                log.warning("the issuer's keys cannot be fetched", reason=str(failed))
            else:
                self._fetched_at = self._attempted_at

    def _fetch_keys(self) -> tuple[VerificationKey, ...]:
        about = self._fetch(self._url.rstrip("/") + DISCOVERY_PATH)
        if about.get("issuer") != self._url:
            # section 4.3: else one issuer could speak for another
            raise FetchError(f"{self._url} says that it is {about.get('issuer')!r}")
        found = keys.parse_jwks(self._fetch(str(about.get("jwks_uri"))))
        if not found:
            raise FetchError(f"{self._url} has no key that is of use here")
        return found
