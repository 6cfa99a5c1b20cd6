"""API tokens: opaque, made here, and known by their hashes only."""

import hmac
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime, timedelta

import structlog
from cachetools import TTLCache

from vmapi.domain import api_token
from vmapi.domain.api_token import ApiToken
from vmapi.domain.identity import Identity
from vmapi.errors import StoreUnavailable, Unauthenticated

log = structlog.get_logger("vmapi.security")

API_TOKEN_CACHE_TTL = 4.0
"""Seconds, so that a revocation is heeded by all processes within 5."""

API_TOKEN_CACHE_SIZE = 4096
"""Tokens that are remembered."""

UNKNOWN_API_TOKEN_CACHE_SIZE = 1024
"""Wrong tokens that are remembered, apart from the others: they cannot drive those out."""

LAST_USE_REPORT_INTERVAL = timedelta(minutes=1)


class ApiTokenValidator:
    """Tokens by their hashes; `find` looks into the database, `used` notes there that one was used.

    The latter is done by `aside`, so that no request waits for it.
    """

    def __init__(
        self,
        find_token: Callable[[str], ApiToken | None],
        record_use: Callable[[str, datetime], None],
        clock: Callable[[], datetime],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        executor: Executor | None = None,
    ) -> None:
        self._find_token = find_token
        self._record_use = record_use
        self._clock = clock
        self._executor = executor or ThreadPoolExecutor(1, thread_name_prefix="tokens")
        self._lock = threading.Lock()
        self._cache: TTLCache[str, ApiToken] = TTLCache(
            API_TOKEN_CACHE_SIZE, API_TOKEN_CACHE_TTL, monotonic
        )
        self._negative_cache: TTLCache[str, None] = TTLCache(
            UNKNOWN_API_TOKEN_CACHE_SIZE, API_TOKEN_CACHE_TTL, monotonic
        )

    def matches(self, token: str) -> bool:
        """Tell whether it has our prefix."""
        return token.startswith(api_token.BEARER_PREFIX)

    def authenticate(self, token: str) -> Identity:
        """Return whose it is. Raises Unauthenticated, StoreUnavailable."""
        if not api_token.is_well_formed(token):
            raise Unauthenticated(
                "This is no API token: a part of it is missing or wrong.", credentials_sent=True
            )
        found = self._find_cached(api_token.hash_token(token))
        if found is None:
            raise Unauthenticated("This API token is not known here.", credentials_sent=True)
        state = found.state(self._clock())
        if state != "active":
            raise Unauthenticated(f"This API token is {state}.", credentials_sent=True)
        return found.identity

    def _find_cached(self, digest: str) -> ApiToken | None:
        with self._lock:
            if (known := self._cache.get(digest)) is not None:
                return known
            if digest in self._negative_cache:
                return None
        found = self._find_token(digest)
        # what is compared are hashes: how long it takes tells nothing of the token
        if found is None or not hmac.compare_digest(found.digest, digest):
            with self._lock:
                self._negative_cache[digest] = None
            return None
        with self._lock:
            self._cache[digest] = found
        self._schedule_last_use(found)
        return found

    def _schedule_last_use(self, token: ApiToken) -> None:
        now = self._clock()
        if token.state(now) != "active":
            return
        if token.last_used_at is None or token.last_used_at <= now - LAST_USE_REPORT_INTERVAL:
            self._executor.submit(self._record_last_use, token.id, now)

    def _record_last_use(self, token_id: str, used_at: datetime) -> None:
        try:
            self._record_use(token_id, used_at)
        except StoreUnavailable as away:
            log.warning("the use of a token is not noted", token_id=token_id, reason=away.detail)
        except Exception:
            log.exception("the use of a token is not noted", token_id=token_id)
