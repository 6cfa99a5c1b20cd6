"""Keys of an OpenID Connect issuer: discovery, rotation, withdrawal, failures."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from threading import Barrier, Thread
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.fake_issuer import URL, FakeIssuer, public
from vmapi.auth import oidc_issuer
from vmapi.auth.jwks import parse_jwks, select_key
from vmapi.auth.oidc_issuer import JWKS_TTL, REFETCH_COOLDOWN, OIDCIssuer
from vmapi.concurrency import bulkhead
from vmapi.errors import IssuerUnavailable, Unauthenticated

DISCOVERY_AND_KEYS = [f"{URL}/.well-known/openid-configuration", f"{URL}/certs"]


class DeferredExecutor(Executor):
    """Runs calls at once; with `is_deferred` collects them until the test runs them."""

    def __init__(self) -> None:
        self.is_deferred = self.has_no_thread = False
        self.calls: list[Callable[[], object]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.has_no_thread:
            raise RuntimeError("can't start new thread")
        future: Future[Any] = Future()
        self.calls.append(lambda: future.set_result(fn(*args, **kwargs)))
        if not self.is_deferred:
            self.run()
        return future

    def run(self) -> None:
        while self.calls:
            self.calls.pop()()


class IssuerHarness:
    """An issuer, the fake server behind it, and a clock of the test."""

    def __init__(self, *key_ids: str) -> None:
        self.server = FakeIssuer(*key_ids)
        self.now = 1000.0
        self.executor = DeferredExecutor()
        self.issuer = OIDCIssuer(
            URL, fetch=self.server.fetch, monotonic=lambda: self.now, executor=self.executor
        )

    def has_key(self, key_id: str | None, algorithm: str = "RS256") -> bool:
        try:
            self.issuer.find_key(key_id, algorithm)
        except Unauthenticated:
            return False
        return True

    @property
    def fetches(self) -> int:
        return len(self.server.requests) // 2


def test_first_use_fetches_the_keys() -> None:
    harness = IssuerHarness("RS", "ES")
    assert harness.server.requests == []
    assert harness.has_key("RS")
    assert harness.has_key("ES", "ES256")
    assert not harness.has_key("ES", "RS256")
    assert harness.server.requests == DISCOVERY_AND_KEYS


def test_token_without_key_id_gets_the_only_matching_key() -> None:
    assert IssuerHarness("RS", "ES").has_key(None)
    assert not IssuerHarness("RS", "RS-2").has_key(None)


def test_new_key_is_fetched() -> None:
    harness = IssuerHarness("RS")
    assert harness.has_key("RS")
    harness.server.keys = [public("RS-2"), public("RS")]
    harness.now += REFETCH_COOLDOWN
    assert harness.has_key("RS-2")
    assert harness.has_key("RS")
    assert harness.fetches == 2


def test_invented_key_ids_cause_one_fetch_per_cooldown() -> None:
    harness = IssuerHarness("RS")
    for number in range(100):
        assert not harness.has_key(f"invented-{number}")
    assert harness.fetches == 1
    harness.now += REFETCH_COOLDOWN
    for number in range(100):
        assert not harness.has_key(f"invented-{number}")
    assert harness.fetches == 2


def test_concurrent_requests_share_one_fetch() -> None:
    harness, start, results = IssuerHarness("RS"), Barrier(8), []

    def find() -> None:
        start.wait()
        results.append(harness.has_key("RS"))

    threads = [Thread(target=find) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 8
    assert harness.fetches == 1


def test_withdrawn_key_is_dropped_by_a_background_fetch() -> None:
    harness = IssuerHarness("RS", "RS-2")
    assert harness.has_key("RS")
    harness.server.keys = [public("RS-2")]
    harness.now += JWKS_TTL
    harness.executor.is_deferred = True
    assert harness.has_key("RS")
    assert harness.fetches == 1
    harness.executor.run()
    assert harness.fetches == 2
    assert not harness.has_key("RS")
    assert harness.has_key("RS-2")


def test_keys_stay_valid_while_the_issuer_is_unavailable() -> None:
    harness = IssuerHarness("RS")
    assert harness.has_key("RS")
    harness.server.is_unavailable = True
    harness.now += 100 * JWKS_TTL
    with capture_logs() as logs:
        for _ in range(50):
            assert harness.has_key("RS")
            harness.executor.run()
    assert len(harness.server.requests) == 3
    assert [line["reason"] for line in logs] == ["unavailable"]
    assert not harness.has_key("RS-2")


def test_issuer_without_any_successful_fetch_is_unavailable() -> None:
    harness = IssuerHarness("RS")
    harness.server.is_unavailable = True
    for _ in range(2):
        with pytest.raises(IssuerUnavailable) as caught:
            harness.issuer.find_key("RS", "RS256")
        assert caught.value.retry_after == 5
    assert len(harness.server.requests) == 1
    harness.server.is_unavailable = False
    harness.now += REFETCH_COOLDOWN
    assert harness.has_key("RS")


def test_known_keys_need_no_free_thread() -> None:
    harness = IssuerHarness("RS")
    assert harness.has_key("RS")
    harness.executor.has_no_thread = True
    harness.now += JWKS_TTL
    assert harness.has_key("RS")
    assert not harness.has_key("RS-2")
    harness.executor.has_no_thread = False
    harness.now += REFETCH_COOLDOWN
    assert harness.has_key("RS")
    assert harness.fetches == 2


def test_issuer_that_hangs_stalls_no_request_with_a_known_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(oidc_issuer, "KEY_WAIT_TIMEOUT", 0.01)
    monkeypatch.setattr(bulkhead, "STALL_SECONDS", 0.05)
    harness = IssuerHarness("RS")
    assert harness.has_key("RS")
    harness.executor.is_deferred = True
    harness.now += REFETCH_COOLDOWN
    for number in range(5):
        with pytest.raises(IssuerUnavailable):
            harness.issuer.find_key(f"invented-{number}", "RS256")
        assert harness.has_key("RS")
    # all of them share one fetch
    assert len(harness.executor.calls) == 1
    harness.executor.run()
    assert not harness.has_key("invented-1")


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example"},
        {"issuer": f"{URL}/"},
        {"issuer": None},
        {"issuer": [URL]},
    ],
)
def test_metadata_of_another_issuer_is_refused(metadata: dict[str, Any]) -> None:
    harness = IssuerHarness("RS")
    harness.server.metadata |= metadata
    with pytest.raises(IssuerUnavailable):
        harness.issuer.find_key("RS", "RS256")


def test_issuer_without_usable_keys_is_unavailable() -> None:
    harness = IssuerHarness("RS")
    harness.server.keys = [public("RS", use="enc")]
    with pytest.raises(IssuerUnavailable):
        harness.issuer.find_key("RS", "RS256")


UNUSABLE_KEYS: list[Any] = [
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


@pytest.mark.parametrize("unusable", UNUSABLE_KEYS)
def test_unusable_keys_are_skipped(unusable: Any) -> None:
    (key,) = parse_jwks({"keys": [unusable, public("RS-2")]})
    assert key.id == "RS-2"


@pytest.mark.parametrize("document", [{}, {"keys": None}, {"keys": {}}, {"keys": []}])
def test_key_set_without_keys_is_empty(document: dict[str, Any]) -> None:
    assert parse_jwks(document) == ()


@pytest.mark.parametrize(
    ("jwk", "algorithms"),
    [
        (public("RS"), {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
        (public("RS", alg="PS256"), {"PS256"}),
        (public("ES"), {"ES256"}),
        (public("ED"), {"EdDSA"}),
    ],
)
def test_key_verifies_algorithms_of_its_type_only(
    jwk: dict[str, Any], algorithms: set[str]
) -> None:
    (key,) = parse_jwks({"keys": [jwk]})
    assert key.algorithms == algorithms


def test_key_without_id_is_for_tokens_without_key_id() -> None:
    jwk = public("RS")
    del jwk["kid"]
    keys = parse_jwks({"keys": [jwk]})
    assert select_key(keys, None, "RS256") == keys[0]
    assert select_key(keys, "RS", "RS256") is None
