"""An OpenID Connect issuer: where its keys are (Discovery 1.0), and which they are by now."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import structlog

from vmapi.auth import jwks as keys
from vmapi.auth.json_fetch import FetchFailed, fetch
from vmapi.auth.jwks import Key
from vmapi.errors import IssuerUnavailable, Unauthenticated

log = structlog.get_logger("vmapi.security")

DISCOVERY = "/.well-known/openid-configuration"

FRESH = 300.0
"""Seconds after which keys are asked for again, so that one that is withdrawn goes here too."""

PAUSE = 5.0
"""Seconds between two attempts: who sends made-up key ids has nothing fetched beyond that."""


class Issuer:
    """Keeps the keys of one issuer, also while it is away. Nothing is fetched before it is needed.

    What is only old is fetched `aside`; a request waits only for keys that are not known.
    """

    def __init__(
        self,
        url: str,
        *,
        fetch: Callable[[str], dict[str, Any]] = fetch,
        monotonic: Callable[[], float] = time.monotonic,
        aside: Executor | None = None,
    ) -> None:
        self._url = url
        self._fetch = fetch
        self._monotonic = monotonic
        self._aside = aside or ThreadPoolExecutor(1, thread_name_prefix="issuer")
        self._lock = threading.Lock()
        self._keys: tuple[Key, ...] = ()
        self._fetched: float | None = None
        self._tried: float | None = None

    def key(self, id: str | None, algorithm: str) -> Key:
        """Return the key that a token names. Raises Unauthenticated, IssuerUnavailable."""
        known, fetched = self._keys, self._fetched
        found = keys.choose(known, id, algorithm)
        if found is None:
            self._update(fetched)
            found = keys.choose(self._keys, id, algorithm)
        elif self._is_old(fetched) and not self._pausing():
            self._aside.submit(self._update, fetched)
        if found is not None:
            return found
        if self._fetched is None:
            raise IssuerUnavailable("The issuer's keys cannot be fetched.")
        raise Unauthenticated("This token's key is none of the issuer's.", sent=True)

    def _is_old(self, fetched: float | None) -> bool:
        return fetched is not None and self._monotonic() - fetched >= FRESH

    def _pausing(self) -> bool:
        return self._tried is not None and self._monotonic() - self._tried < PAUSE

    def _update(self, fetched: float | None) -> None:
        with self._lock:
            # who waited for the lock finds what another has fetched
            if self._fetched != fetched or self._pausing():
                return
            self._tried = self._monotonic()
            try:
                self._keys = self._load()
            except FetchFailed as failed:
                log.warning("the issuer's keys cannot be fetched", reason=str(failed))
            else:
                self._fetched = self._tried

    def _load(self) -> tuple[Key, ...]:
        about = self._fetch(self._url.rstrip("/") + DISCOVERY)
        if about.get("issuer") != self._url:
            # section 4.3: else one issuer could speak for another
            raise FetchFailed(f"{self._url} says that it is {about.get('issuer')!r}")
        found = keys.read(self._fetch(str(about.get("jwks_uri"))))
        if not found:
            raise FetchFailed(f"{self._url} has no key that is of use here")
        return found
