"""The cache of validated tokens."""

import pytest

from tests.support.metrics import RecordedMetrics
from tests.support.reachable_objects import holds_text
from vmapi.auth.cache import (
    NEGATIVE_TOKEN_CACHE_SIZE,
    TOKEN_CACHE_SIZE,
    TokenCache,
    ValidatedToken,
)


class CacheHarness:
    """A cache with a clock of the test, and a validation that counts its calls."""

    def __init__(self) -> None:
        self.now = 100.0
        self.calls = 0
        self.result: ValidatedToken[str] | None = ValidatedToken("alice", 30.0)
        self.cache: TokenCache[str] = TokenCache(
            negative_ttl_seconds=10.0, monotonic=lambda: self.now
        )

    def get(self, token: str = "secret-token") -> str | None:
        return self.cache.get_or_validate(token, self._validate)

    def _validate(self) -> ValidatedToken[str] | None:
        self.calls += 1
        return self.result


@pytest.fixture
def harness() -> CacheHarness:
    return CacheHarness()


def test_valid_token_is_validated_once_per_ttl(harness: CacheHarness) -> None:
    assert [harness.get(), harness.get()] == ["alice", "alice"]
    harness.now += 29.9
    harness.get()
    assert harness.calls == 1
    harness.now += 0.2
    harness.get()
    assert harness.calls == 2


def test_unknown_token_is_validated_once_per_negative_ttl(harness: CacheHarness) -> None:
    harness.result = None
    assert [harness.get(), harness.get()] == [None, None]
    assert harness.calls == 1
    harness.now += 10.1
    harness.result = ValidatedToken("alice", 30.0)
    assert harness.get() == "alice"


def test_result_without_ttl_is_not_cached(harness: CacheHarness) -> None:
    harness.result = ValidatedToken("alice", 0.0)
    assert [harness.get(), harness.get()] == ["alice", "alice"]
    assert harness.calls == 2


def test_exception_of_the_validation_is_not_cached(harness: CacheHarness) -> None:
    def fail() -> None:
        raise ConnectionError

    for _ in range(2):
        with pytest.raises(ConnectionError):
            harness.cache.get_or_validate("secret-token", fail)
    assert harness.get() == "alice"


def test_unknown_tokens_evict_no_valid_token(harness: CacheHarness) -> None:
    harness.get()
    harness.result = None
    for number in range(NEGATIVE_TOKEN_CACHE_SIZE + 1):
        harness.get(str(number))
    calls = harness.calls
    assert harness.get() == "alice"
    assert harness.calls == calls
    # the oldest unknown token was evicted
    harness.get("0")
    assert harness.calls == calls + 1


def test_number_of_valid_tokens_is_bounded(harness: CacheHarness) -> None:
    for number in range(TOKEN_CACHE_SIZE + 1):
        harness.get(str(number))
    assert harness.calls == TOKEN_CACHE_SIZE + 1
    harness.get(str(TOKEN_CACHE_SIZE))
    assert harness.calls == TOKEN_CACHE_SIZE + 1
    harness.get("0")
    assert harness.calls == TOKEN_CACHE_SIZE + 2


def test_cache_holds_no_token(harness: CacheHarness) -> None:
    harness.get()
    harness.result = None
    harness.get("wrong-token")
    assert holds_text(harness.cache, "alice")
    assert not holds_text(harness.cache, "secret-token")
    assert not holds_text(harness.cache, "wrong-token")


def test_lookups_are_counted_by_their_result(
    harness: CacheHarness, metrics: RecordedMetrics
) -> None:
    harness.get()
    harness.get()
    harness.result = None
    harness.get("unknown")
    harness.get("unknown")
    samples = metrics.read()
    name = "vmapi_token_cache_lookups_total"
    counts = [samples.sum(name, result=result) for result in ("hit", "miss", "unknown")]
    assert counts == [1, 2, 1]
