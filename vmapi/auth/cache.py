"""A cache of validated tokens, shared by all token validators.

Its keys are SHA-256 hashes, so that no token stays in memory.
"""

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetools import TLRUCache, TTLCache

from vmapi.telemetry.metrics.catalog import TOKEN_CACHE_LOOKUPS

T = TypeVar("T")

TOKEN_CACHE_SIZE = 4096
NEGATIVE_TOKEN_CACHE_SIZE = 1024


@dataclass(frozen=True, slots=True)
class ValidatedToken(Generic[T]):
    """The result of a validation, and for how long it may be reused."""

    value: T
    ttl_seconds: float


class TokenCache(Generic[T]):
    """Caches the results of validations, so that a token is validated once per TTL.

    Unknown tokens have a separate cache: they cannot evict valid ones.
    """

    def __init__(
        self,
        *,
        negative_ttl_seconds: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lock = threading.Lock()
        self._valid: TLRUCache[str, ValidatedToken[T]] = TLRUCache(
            TOKEN_CACHE_SIZE, _expires_at, monotonic
        )
        self._unknown: TTLCache[str, None] = TTLCache(
            NEGATIVE_TOKEN_CACHE_SIZE, negative_ttl_seconds, monotonic
        )

    def get_or_validate(
        self, token: str, validate: Callable[[], ValidatedToken[T] | None]
    ) -> T | None:
        """Return the cached result for a token, else validate it and cache the result.

        `validate` returns None for an unknown token, and so does this method. Exceptions of
        `validate` propagate, and nothing is cached then.
        """
        key = hashlib.sha256(token.encode()).hexdigest()
        with self._lock:
            validated = self._valid.get(key)
            is_unknown = validated is None and key in self._unknown
        if is_unknown:
            TOKEN_CACHE_LOOKUPS.increment("unknown")
            return None
        TOKEN_CACHE_LOOKUPS.increment("miss" if validated is None else "hit")
        if validated is None:
            validated = validate()
            with self._lock:
                if validated is None:
                    self._unknown[key] = None
                    return None
                self._valid[key] = validated
        return validated.value


def _expires_at(_: str, validated: ValidatedToken[T], now: float) -> float:
    return now + validated.ttl_seconds
