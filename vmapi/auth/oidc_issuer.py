"""An OpenID Connect issuer: discovers (Discovery 1.0), fetches and caches its keys."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import structlog

from vmapi.auth.json_fetch import FetchError, fetch_json_object
from vmapi.auth.jwks import VerificationKey, parse_jwks, select_key
from vmapi.errors import IssuerUnavailable, Unauthenticated

log = structlog.get_logger("vmapi.security")

DISCOVERY_PATH = "/.well-known/openid-configuration"

#: Seconds until the keys are fetched again, so that a key that the issuer withdraws is dropped.
JWKS_TTL = 300.0

#: Seconds between two fetches. Tokens with invented key ids cannot cause more.
REFETCH_COOLDOWN = 5.0


class OIDCIssuer:
    """Provides the keys of one issuer. The first use fetches them.

    Stale keys stay in use while the `executor` fetches new ones, and while the issuer is
    unavailable. A request waits for a fetch only if its key is unknown.
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
        self._executor = executor or ThreadPoolExecutor(1, thread_name_prefix="oidc-issuer")
        self._lock = threading.Lock()
        self._keys: tuple[VerificationKey, ...] = ()
        self._fetched_at: float | None = None
        self._attempted_at: float | None = None

    def find_key(self, key_id: str | None, algorithm: str) -> VerificationKey:
        """Return the key that a token names. Raises Unauthenticated, IssuerUnavailable."""
        keys, fetched_at = self._keys, self._fetched_at
        key = select_key(keys, key_id, algorithm)
        if key is None:
            self._refresh_keys(fetched_at)
            key = select_key(self._keys, key_id, algorithm)
        elif self._is_stale(fetched_at) and not self._is_cooling_down():
            self._executor.submit(self._refresh_keys, fetched_at)
        if key is not None:
            return key
        if self._fetched_at is None:
            raise IssuerUnavailable("The issuer's keys cannot be fetched.")
        raise Unauthenticated("The issuer does not have this token's key.", credentials_sent=True)

    def _is_stale(self, fetched_at: float | None) -> bool:
        return fetched_at is not None and self._monotonic() - fetched_at >= JWKS_TTL

    def _is_cooling_down(self) -> bool:
        attempted_at = self._attempted_at
        return attempted_at is not None and self._monotonic() - attempted_at < REFETCH_COOLDOWN

    def _refresh_keys(self, known_fetched_at: float | None) -> None:
        with self._lock:
            # another thread may have fetched the keys while this one waited for the lock
            if self._fetched_at != known_fetched_at or self._is_cooling_down():
                return
            self._attempted_at = self._monotonic()
            try:
                self._keys = self._fetch_keys()
            except FetchError as error:
                log.warning("issuer keys cannot be fetched", reason=str(error))
            else:
                self._fetched_at = self._attempted_at

    def _fetch_keys(self) -> tuple[VerificationKey, ...]:
        metadata = self._fetch(self._url.rstrip("/") + DISCOVERY_PATH)
        if metadata.get("issuer") != self._url:
            # section 4.3: otherwise one issuer could impersonate another
            raise FetchError(f"{self._url} calls itself {metadata.get('issuer')!r}")
        keys = parse_jwks(self._fetch(str(metadata.get("jwks_uri"))))
        if not keys:
            raise FetchError(f"{self._url} has no usable key")
        return keys
