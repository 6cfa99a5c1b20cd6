"""Validation of API tokens: cache, comparison of hashes, time of last use."""

import hmac
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.fake_clock import Clock
from tests.support.reachable_objects import holds_text
from vmapi.auth import api_tokens
from vmapi.auth.api_tokens import ApiTokenValidator
from vmapi.auth.cache import NEGATIVE_TOKEN_CACHE_SIZE
from vmapi.domain.access import api_token
from vmapi.domain.access.api_token import ApiToken
from vmapi.domain.access.identity import Identity
from vmapi.domain.access.roles import Role
from vmapi.errors import StoreUnavailable, Unauthenticated

CI = Identity("ci", Role.OPERATOR, "web")


class DeferredExecutor(Executor):
    """Collects the submitted calls, for the test to run."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.calls.append(lambda: fn(*args, **kwargs))
        return Future()


class ApiTokenHarness:
    """A validator, a stub of the database, and a clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.stored: dict[str, ApiToken] = {}
        self.lookups: list[str] = []
        self.recorded: list[tuple[str, datetime]] = []
        self.executor = DeferredExecutor()
        self.is_unavailable = False
        self.validator = ApiTokenValidator(
            self.find,
            self.record_use,
            self.clock,
            monotonic=lambda: self.clock().timestamp(),
            executor=self.executor,
        )

    def find(self, digest: str) -> ApiToken | None:
        self.lookups.append(digest)
        if self.is_unavailable:
            raise StoreUnavailable("unavailable")
        return self.stored.get(digest)

    def record_use(self, token_id: str, used_at: datetime) -> None:
        if self.is_unavailable:
            raise StoreUnavailable("unavailable")
        self.recorded.append((token_id, used_at))

    def create(self, **fields: Any) -> str:
        secret = api_token.generate_token()
        token = ApiToken(
            *(
                "1",
                api_token.hash_token(secret),
                CI.subject,
                Role.OPERATOR,
                CI.project,
                self.clock(),
            ),
            **fields,
        )
        self.stored[token.digest] = token
        return secret

    def rejection(self, token: str) -> str:
        with pytest.raises(Unauthenticated) as caught:
            self.validator.authenticate(token)
        assert caught.value.credentials_sent
        assert token not in caught.value.detail
        return caught.value.detail


@pytest.fixture
def harness() -> ApiTokenHarness:
    return ApiTokenHarness()


def test_valid_token_has_the_stored_identity(harness: ApiTokenHarness) -> None:
    assert harness.validator.authenticate(harness.create()) == CI
    assert harness.validator.matches("vmapi_")
    assert not harness.validator.matches("eyJ")


def test_malformed_token_is_rejected_without_a_database_lookup(harness: ApiTokenHarness) -> None:
    secret = harness.create()
    for malformed in (secret[:-1], secret + "0", "vmapi_", secret[:8] + "~" + secret[9:]):
        assert harness.rejection(malformed).startswith("This is not an API token")
    assert harness.lookups == []


def test_valid_token_is_looked_up_once_per_ttl(harness: ApiTokenHarness) -> None:
    secret = harness.create()
    for _ in range(3):
        harness.validator.authenticate(secret)
        harness.clock.sleep(1)
    assert len(harness.lookups) == 1
    harness.clock.sleep(1)
    harness.validator.authenticate(secret)
    assert len(harness.lookups) == 2


def test_revoked_token_is_rejected_within_five_seconds(harness: ApiTokenHarness) -> None:
    assert api_tokens.API_TOKEN_CACHE_TTL < 5
    secret = harness.create()
    harness.validator.authenticate(secret)
    digest = api_token.hash_token(secret)
    harness.stored[digest] = replace(harness.stored[digest], revoked_at=harness.clock())
    harness.clock.sleep(5)
    assert harness.rejection(secret) == "This API token is revoked."


def test_cached_token_is_rejected_when_it_expires(harness: ApiTokenHarness) -> None:
    secret = harness.create(expires_at=harness.clock() + timedelta(seconds=2))
    harness.validator.authenticate(secret)
    harness.clock.sleep(2)
    assert harness.rejection(secret) == "This API token is expired."
    assert len(harness.lookups) == 1


def test_unknown_token_is_cached_for_a_bounded_time_and_number(harness: ApiTokenHarness) -> None:
    unknown, valid = api_token.generate_token(), harness.create()
    harness.validator.authenticate(valid)
    for _ in range(2):
        assert harness.rejection(unknown) == "This API token is unknown."
    assert len(harness.lookups) == 2
    for _ in range(NEGATIVE_TOKEN_CACHE_SIZE):
        harness.rejection(api_token.generate_token())
    before = len(harness.lookups)
    harness.validator.authenticate(valid)
    assert len(harness.lookups) == before
    harness.rejection(unknown)
    assert len(harness.lookups) == before + 1
    harness.clock.sleep(5)
    harness.rejection(unknown)
    assert len(harness.lookups) == before + 2


def test_validator_holds_no_token(harness: ApiTokenHarness) -> None:
    secret = harness.create()
    harness.validator.authenticate(secret)
    assert not holds_text(harness.validator, secret)
    assert secret not in str(harness.lookups)


def test_hashes_are_compared_in_constant_time(
    harness: ApiTokenHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, comparisons = harness.create(), []

    def compare(first: str, second: str) -> bool:
        comparisons.append((first, second))
        return first == second

    monkeypatch.setattr(hmac, "compare_digest", compare)
    harness.validator.authenticate(secret)
    digest = api_token.hash_token(secret)
    assert comparisons == [(digest, digest)]


def test_token_with_another_hash_is_unknown(harness: ApiTokenHarness) -> None:
    secret = harness.create()
    digest = api_token.hash_token(secret)
    harness.stored[digest] = replace(harness.stored[digest], digest=digest.upper())
    assert harness.rejection(secret) == "This API token is unknown."


def test_unavailable_database_admits_cached_tokens_only(harness: ApiTokenHarness) -> None:
    known, other = harness.create(), harness.create()
    harness.validator.authenticate(known)
    harness.is_unavailable = True
    assert harness.validator.authenticate(known) == CI
    with pytest.raises(StoreUnavailable):
        harness.validator.authenticate(other)
    harness.clock.sleep(5)
    with pytest.raises(StoreUnavailable):
        harness.validator.authenticate(known)


def test_last_use_is_recorded_in_the_background_once_a_minute(harness: ApiTokenHarness) -> None:
    secret = harness.create()
    harness.validator.authenticate(secret)
    assert harness.recorded == []
    (write,) = harness.executor.calls
    write()
    assert harness.recorded == [("1", harness.clock())]
    digest = api_token.hash_token(secret)
    harness.stored[digest] = replace(harness.stored[digest], last_used_at=harness.clock())
    for _ in range(9):
        harness.clock.sleep(6)
        harness.validator.authenticate(secret)
    assert len(harness.executor.calls) == 1
    harness.clock.sleep(6)
    harness.validator.authenticate(secret)
    assert len(harness.executor.calls) == 2


def test_failure_to_record_the_last_use_is_logged(harness: ApiTokenHarness) -> None:
    harness.validator.authenticate(harness.create())
    harness.is_unavailable = True
    with capture_logs() as logs:
        harness.executor.calls[0]()
    assert [(line["log_level"], line["token_id"]) for line in logs] == [("warning", "1")]


def test_revoked_token_records_no_use(harness: ApiTokenHarness) -> None:
    harness.rejection(harness.create(revoked_at=harness.clock()))
    assert harness.executor.calls == []


def test_valid_token_needs_no_free_thread(
    harness: ApiTokenHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(harness.executor, "submit", fail)
    assert harness.validator.authenticate(harness.create()) == CI
