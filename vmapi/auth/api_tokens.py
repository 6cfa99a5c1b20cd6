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

REMEMBERED = 4.0
"""Seconds, so that a revocation is heeded by all processes within 5."""

KNOWN = 4096
"""Tokens that are remembered."""

UNKNOWN = 1024
"""Wrong tokens that are remembered, apart from the others: they cannot drive those out."""

SELDOM = timedelta(minutes=1)


class ApiTokens:
    """Tokens by their hashes; `find` looks into the database, `used` notes there that one was used.

    The latter is done by `aside`, so that no request waits for it.
    """

    def __init__(
        self,
        find: Callable[[str], ApiToken | None],
        used: Callable[[str, datetime], None],
        clock: Callable[[], datetime],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        aside: Executor | None = None,
    ) -> None:
        self._find = find
        self._used = used
        self._clock = clock
        self._aside = aside or ThreadPoolExecutor(1, thread_name_prefix="tokens")
        self._lock = threading.Lock()
        self._known: TTLCache[str, ApiToken] = TTLCache(KNOWN, REMEMBERED, monotonic)
        self._unknown: TTLCache[str, None] = TTLCache(UNKNOWN, REMEMBERED, monotonic)

    def recognises(self, token: str) -> bool:
        """Tell whether it has our prefix."""
        return token.startswith(api_token.PREFIX)

    def identify(self, token: str) -> Identity:
        """Return whose it is. Raises Unauthenticated, StoreUnavailable."""
        if not api_token.is_well_formed(token):
            raise Unauthenticated(
                "This is no API token: a part of it is missing or wrong.", sent=True
            )
        found = self._remembered(api_token.digest(token))
        if found is None:
            raise Unauthenticated("This API token is not known here.", sent=True)
        state = found.state(self._clock())
        if state != "active":
            raise Unauthenticated(f"This API token is {state}.", sent=True)
        return found.identity

    def _remembered(self, digest: str) -> ApiToken | None:
        with self._lock:
            if (known := self._known.get(digest)) is not None:
                return known
            if digest in self._unknown:
                return None
        found = self._find(digest)
        # what is compared are hashes: how long it takes tells nothing of the token
        if found is None or not hmac.compare_digest(found.digest, digest):
            with self._lock:
                self._unknown[digest] = None
            return None
        with self._lock:
            self._known[digest] = found
        self._note(found)
        return found

    def _note(self, token: ApiToken) -> None:
        now = self._clock()
        if token.state(now) != "active":
            return
        if token.last_used_at is None or token.last_used_at <= now - SELDOM:
            self._aside.submit(self._write, token.id, now)

    def _write(self, id: str, at: datetime) -> None:
        try:
            self._used(id, at)
        except StoreUnavailable as away:
            log.warning("the use of a token is not noted", token_id=id, reason=away.detail)
        except Exception:
            log.exception("the use of a token is not noted", token_id=id)
