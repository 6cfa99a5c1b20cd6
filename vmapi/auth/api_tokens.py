"""Validation of API tokens: opaque tokens of vmapi, stored as hashes."""

import hmac
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta

import structlog

from vmapi.auth.cache import TokenCache, ValidatedToken
from vmapi.domain.access.api_token import BEARER_PREFIX, ApiToken, hash_token, is_well_formed
from vmapi.domain.access.identity import Identity
from vmapi.errors import StoreUnavailable, Unauthenticated

log = structlog.get_logger("vmapi.security")

#: Seconds. With the time of a request, every process rejects a revoked token within 5 seconds.
API_TOKEN_CACHE_TTL = 4.0

#: The last use of a token is stored at most this often.
LAST_USE_REPORT_INTERVAL = timedelta(minutes=1)


class ApiTokenValidator:
    """Validates API tokens against the database.

    `find_token` reads a token by its hash. `record_use` stores the time of its last use; the
    `executor` runs it, so that no request waits for it.
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
        self._executor = executor or ThreadPoolExecutor(1, thread_name_prefix="token-last-used")
        self._cache: TokenCache[ApiToken] = TokenCache(
            negative_ttl_seconds=API_TOKEN_CACHE_TTL, monotonic=monotonic
        )

    def matches(self, token: str) -> bool:
        """Return whether a token has the prefix of API tokens."""
        return token.startswith(BEARER_PREFIX)

    def has_issued(self, token: str) -> bool:
        """Return whether a token has the prefix of API tokens."""
        return self.matches(token)

    def authenticate(self, token: str) -> Identity:
        """Return the identity of a token. Raises Unauthenticated, StoreUnavailable."""
        if not is_well_formed(token):
            raise Unauthenticated(
                "This is not an API token: a part of it is missing or wrong.", credentials_sent=True
            )
        stored = self._cache.get_or_validate(token, lambda: self._load(hash_token(token)))
        if stored is None:
            raise Unauthenticated("This API token is unknown.", credentials_sent=True)
        state = stored.state(self._clock())
        if state != "active":
            raise Unauthenticated(f"This API token is {state}.", credentials_sent=True)
        return stored.identity

    def _load(self, digest: str) -> ValidatedToken[ApiToken] | None:
        stored = self._find_token(digest)
        # the comparison is of hashes: its duration reveals nothing about the token
        if stored is None or not hmac.compare_digest(stored.digest, digest):
            return None
        self._schedule_last_use(stored)
        return ValidatedToken(stored, API_TOKEN_CACHE_TTL)

    def _schedule_last_use(self, token: ApiToken) -> None:
        now = self._clock()
        if token.state(now) != "active":
            return
        # a time in the future is from a clock that was ahead
        if token.last_used_at is None or abs(now - token.last_used_at) >= LAST_USE_REPORT_INTERVAL:
            # without a free thread, the next validation records its use
            with suppress(RuntimeError):
                self._executor.submit(self._record_last_use, token.id, now)

    def _record_last_use(self, token_id: str, used_at: datetime) -> None:
        try:
            self._record_use(token_id, used_at)
        except StoreUnavailable as error:
            log.warning("token last-used update failed", token_id=token_id, reason=error.detail)
        except Exception:
            log.exception("token last-used update failed", token_id=token_id)
