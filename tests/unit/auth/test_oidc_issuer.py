"""An issuer's keys: found, turned over, withdrawn, and kept while it is away."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from threading import Barrier, Thread
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.fake_issuer import URL, Authority, public
from vmapi.auth import jwks as keys
from vmapi.auth import oidc_issuer as issuers
from vmapi.auth.oidc_issuer import OIDCIssuer
from vmapi.errors import IssuerUnavailable, Unauthenticated

BOTH = [f"{URL}/.well-known/openid-configuration", f"{URL}/certs"]


class Aside(Executor):
    """Does what it is given when a test says so."""

    def __init__(self) -> None:
        self.given: list[Callable[[], object]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.given.append(lambda: fn(*args, **kwargs))
        return Future()

    def run(self) -> None:
        while self.given:
            self.given.pop()()


class Scene:
    """An issuer, what it shows, and the time."""

    def __init__(self, *shown: str) -> None:
        self.authority = Authority(*shown)
        self.now = 1000.0
        self.aside = Aside()
        self.issuer = OIDCIssuer(
            URL, fetch=self.authority.fetch, monotonic=lambda: self.now, executor=self.aside
        )

    def knows(self, name: str | None, algorithm: str = "RS256") -> bool:
        try:
            self.issuer.find_key(name, algorithm)
        except Unauthenticated:
            return False
        return True

    @property
    def fetches(self) -> int:
        return len(self.authority.asked) // 2


def test_keys_are_fetched_when_the_first_is_needed() -> None:
    scene = Scene("RS", "ES")
    assert scene.authority.asked == []
    assert scene.knows("RS")
    assert scene.knows("ES", "ES256")
    assert not scene.knows("ES", "RS256")
    assert scene.authority.asked == BOTH


def test_a_token_that_names_no_key_is_the_only_one_s() -> None:
    assert Scene("RS", "ES").knows(None)
    assert not Scene("RS", "RS-2").knows(None)


def test_a_new_key_is_found() -> None:
    scene = Scene("RS")
    assert scene.knows("RS")
    scene.authority.keys = [public("RS-2"), public("RS")]
    scene.now += issuers.REFETCH_COOLDOWN
    assert scene.knows("RS-2")
    assert scene.knows("RS")
    assert scene.fetches == 2


def test_made_up_key_ids_have_nothing_fetched_beyond_one_a_while() -> None:
    scene = Scene("RS")
    for number in range(100):
        assert not scene.knows(f"made-up-{number}")
    assert scene.fetches == 1
    scene.now += issuers.REFETCH_COOLDOWN
    for number in range(100):
        assert not scene.knows(f"made-up-{number}")
    assert scene.fetches == 2


def test_many_who_need_a_new_key_at_once_share_one_fetch() -> None:
    scene, start, found = Scene("RS"), Barrier(8), []

    def ask() -> None:
        start.wait()
        found.append(scene.knows("RS"))

    threads = [Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 8
    assert scene.fetches == 1


def test_a_key_that_is_withdrawn_goes_and_nobody_waits_for_it() -> None:
    scene = Scene("RS", "RS-2")
    assert scene.knows("RS")
    scene.authority.keys = [public("RS-2")]
    scene.now += issuers.JWKS_TTL
    assert scene.knows("RS")
    assert scene.fetches == 1
    scene.aside.run()
    assert scene.fetches == 2
    assert not scene.knows("RS")
    assert scene.knows("RS-2")


def test_an_issuer_that_is_away_keeps_its_keys_and_is_not_asked_all_the_time() -> None:
    scene = Scene("RS")
    assert scene.knows("RS")
    scene.authority.away = True
    scene.now += 100 * issuers.JWKS_TTL
    with capture_logs() as logs:
        for _ in range(50):
            assert scene.knows("RS")
            scene.aside.run()
    assert len(scene.authority.asked) == 3
    assert [line["reason"] for line in logs] == ["away"]
    assert not scene.knows("RS-2")


def test_one_that_was_never_there_is_unavailable() -> None:
    scene = Scene("RS")
    scene.authority.away = True
    for _ in range(2):
        with pytest.raises(IssuerUnavailable) as caught:
            scene.issuer.find_key("RS", "RS256")
        assert caught.value.retry_after == 5
    assert len(scene.authority.asked) == 1
    scene.authority.away = False
    scene.now += issuers.REFETCH_COOLDOWN
    assert scene.knows("RS")


@pytest.mark.parametrize(
    "about",
    [
        {"issuer": "https://evil.example"},
        {"issuer": f"{URL}/"},
        {"issuer": None},
        {"issuer": [URL]},
    ],
)
def test_one_that_speaks_for_another_is_not_believed(about: dict[str, Any]) -> None:
    scene = Scene("RS")
    scene.authority.about |= about
    with pytest.raises(IssuerUnavailable):
        scene.issuer.find_key("RS", "RS256")


def test_one_without_keys_that_are_of_use() -> None:
    scene = Scene("RS")
    scene.authority.keys = [public("RS", use="enc")]
    with pytest.raises(IssuerUnavailable):
        scene.issuer.find_key("RS", "RS256")


ODD: list[Any] = [
    *(None, 7, "key", [], {}, {"kty": "RSA"}, {"kty": ["RSA"]}, {"kty": "EC", "crv": ["P-256"]}),
    {"kty": "oct", "k": "c2VjcmV0", "kid": "RS", "alg": "HS256"},
    public("RS", use="enc"),
    public("RS", key_ops=["sign"]),
    public("RS", key_ops=7),
    public("RS", alg="HS256"),
    public("RS", alg="RSA-OAEP"),
    public("RS", n="AQAB"),
    public("RS", n="!"),
    public("RS", d="AQAB"),
    public("RS", e=None),
    public("ES", crv="P-384"),
]


@pytest.mark.parametrize("odd", ODD)
def test_keys_that_are_of_no_use_are_left_out(odd: Any) -> None:
    (found,) = keys.parse_jwks({"keys": [odd, public("RS-2")]})
    assert found.id == "RS-2"


@pytest.mark.parametrize("document", [{}, {"keys": None}, {"keys": {}}, {"keys": []}])
def test_no_keys(document: dict[str, Any]) -> None:
    assert keys.parse_jwks(document) == ()


@pytest.mark.parametrize(
    ("shown", "algorithms"),
    [
        (public("RS"), {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
        (public("RS", alg="PS256"), {"PS256"}),
        (public("ES"), {"ES256"}),
        (public("ED"), {"EdDSA"}),
    ],
)
def test_a_key_is_used_with_its_own_algorithms_only(
    shown: dict[str, Any], algorithms: set[str]
) -> None:
    (found,) = keys.parse_jwks({"keys": [shown]})
    assert found.algorithms == algorithms


def test_a_key_without_an_id_is_for_tokens_that_name_none() -> None:
    shown = public("RS")
    del shown["kid"]
    found = keys.parse_jwks({"keys": [shown]})
    assert keys.select_key(found, None, "RS256") == found[0]
    assert keys.select_key(found, "RS", "RS256") is None
