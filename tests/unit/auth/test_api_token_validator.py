"""API tokens at the gate: what is remembered of them, how long, and how they are compared."""

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
from vmapi.domain import api_token
from vmapi.domain.api_token import ApiToken
from vmapi.domain.identity import Identity
from vmapi.domain.roles import Role
from vmapi.errors import StoreUnavailable, Unauthenticated

CI = Identity("ci", Role.OPERATOR, "web")


class Aside(Executor):
    """Does what it is given when a test says so."""

    def __init__(self) -> None:
        self.given: list[Callable[[], object]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.given.append(lambda: fn(*args, **kwargs))
        return Future()


class Door:
    """A validator, the database behind it, and the time."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.kept: dict[str, ApiToken] = {}
        self.asked: list[str] = []
        self.noted: list[tuple[str, datetime]] = []
        self.aside = Aside()
        self.away = False
        self.tokens = ApiTokenValidator(
            self.find,
            self.used,
            self.clock,
            monotonic=lambda: self.clock().timestamp(),
            executor=self.aside,
        )

    def find(self, digest: str) -> ApiToken | None:
        self.asked.append(digest)
        if self.away:
            raise StoreUnavailable("away")
        return self.kept.get(digest)

    def used(self, id: str, at: datetime) -> None:
        if self.away:
            raise StoreUnavailable("away")
        self.noted.append((id, at))

    def made(self, **more: Any) -> str:
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
            **more,
        )
        self.kept[token.digest] = token
        return secret

    def refused(self, token: str) -> str:
        with pytest.raises(Unauthenticated) as caught:
            self.tokens.authenticate(token)
        assert caught.value.credentials_sent
        assert token not in caught.value.detail
        return caught.value.detail


@pytest.fixture
def door() -> Door:
    return Door()


def test_whose_it_is(door: Door) -> None:
    assert door.tokens.authenticate(door.made()) == CI
    assert door.tokens.matches("vmapi_")
    assert not door.tokens.matches("eyJ")


def test_a_typo_is_refused_without_a_look_into_the_database(door: Door) -> None:
    secret = door.made()
    for wrong in (secret[:-1], secret + "0", "vmapi_", secret[:8] + "~" + secret[9:]):
        assert door.refused(wrong).startswith("This is not an API token")
    assert door.asked == []


def test_it_is_remembered_for_a_while(door: Door) -> None:
    secret = door.made()
    for _ in range(3):
        door.tokens.authenticate(secret)
        door.clock.sleep(1)
    assert len(door.asked) == 1
    door.clock.sleep(1)
    door.tokens.authenticate(secret)
    assert len(door.asked) == 2


def test_a_revocation_is_heeded_within_five_seconds(door: Door) -> None:
    assert api_tokens.API_TOKEN_CACHE_TTL < 5
    secret = door.made()
    door.tokens.authenticate(secret)
    digest = api_token.hash_token(secret)
    door.kept[digest] = replace(door.kept[digest], revoked_at=door.clock())
    door.clock.sleep(5)
    assert door.refused(secret) == "This API token is revoked."


def test_an_end_is_heeded_at_once(door: Door) -> None:
    secret = door.made(expires_at=door.clock() + timedelta(seconds=2))
    door.tokens.authenticate(secret)
    door.clock.sleep(2)
    assert door.refused(secret) == "This API token is expired."
    assert len(door.asked) == 1


def test_an_unknown_one_is_remembered_too_but_not_for_ever_nor_many(door: Door) -> None:
    secret, known = api_token.generate_token(), door.made()
    door.tokens.authenticate(known)
    for _ in range(2):
        assert door.refused(secret) == "This API token is unknown."
    assert len(door.asked) == 2
    for _ in range(NEGATIVE_TOKEN_CACHE_SIZE):
        door.refused(api_token.generate_token())
    before = len(door.asked)
    door.tokens.authenticate(known)
    assert len(door.asked) == before
    door.refused(secret)
    assert len(door.asked) == before + 1
    door.clock.sleep(5)
    door.refused(secret)
    assert len(door.asked) == before + 2


def test_what_is_remembered_is_not_the_token(door: Door) -> None:
    secret = door.made()
    door.tokens.authenticate(secret)
    assert not holds_text(door.tokens, secret)
    assert secret not in str(door.asked)


def test_hashes_are_compared_in_constant_time(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, compared = door.made(), []

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    door.tokens.authenticate(secret)
    digest = api_token.hash_token(secret)
    assert compared == [(digest, digest)]


def test_what_the_database_takes_for_it_but_is_not(door: Door) -> None:
    secret = door.made()
    digest = api_token.hash_token(secret)
    door.kept[digest] = replace(door.kept[digest], digest=digest.upper())
    assert door.refused(secret) == "This API token is unknown."


def test_without_a_database_only_what_is_remembered_is_let_in(door: Door) -> None:
    known, other = door.made(), door.made()
    door.tokens.authenticate(known)
    door.away = True
    assert door.tokens.authenticate(known) == CI
    with pytest.raises(StoreUnavailable):
        door.tokens.authenticate(other)
    door.clock.sleep(5)
    with pytest.raises(StoreUnavailable):
        door.tokens.authenticate(known)


def test_the_use_is_noted_aside_and_seldom(door: Door) -> None:
    secret = door.made()
    door.tokens.authenticate(secret)
    assert door.noted == []
    (write,) = door.aside.given
    write()
    assert door.noted == [("1", door.clock())]
    digest = api_token.hash_token(secret)
    door.kept[digest] = replace(door.kept[digest], last_used_at=door.clock())
    for _ in range(9):
        door.clock.sleep(6)
        door.tokens.authenticate(secret)
    assert len(door.aside.given) == 1
    door.clock.sleep(6)
    door.tokens.authenticate(secret)
    assert len(door.aside.given) == 2


def test_a_use_that_cannot_be_noted_is_in_the_log(door: Door) -> None:
    door.tokens.authenticate(door.made())
    door.away = True
    with capture_logs() as logs:
        door.aside.given[0]()
    assert [(line["log_level"], line["token_id"]) for line in logs] == [("warning", "1")]


def test_one_that_is_over_was_not_used(door: Door) -> None:
    door.refused(door.made(revoked_at=door.clock()))
    assert door.aside.given == []
