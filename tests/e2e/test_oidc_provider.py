"""A real OpenID Connect provider: access by its tokens, key rotation under load."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import jwt
import pytest

from tests.support.http_client import HttpResponse, wait_until
from tests.support.oidc_provider import AUDIENCE, OidcProvider, generate_key, install_provider
from tests.support.processes import Gunicorn, ServerProcess

CREATE_BODY = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"}
FIRST, SECOND = generate_key("first"), generate_key("second")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_provider(tmp_path_factory.mktemp("issuer"))


@pytest.fixture
def authority(folder: Path) -> Iterator[OidcProvider]:
    provider = OidcProvider(folder)
    provider.start(FIRST)
    yield provider
    provider.stop()


@pytest.fixture
def server(gunicorn: Callable[..., Gunicorn], authority: ServerProcess) -> Gunicorn:
    server = gunicorn(
        VMAPI_AUTH="jwt",
        VMAPI_JWT_ISSUER=f"http://127.0.0.1:{authority.port}",
        VMAPI_JWT_AUDIENCE=AUDIENCE,
        VMAPI_JWT_PROJECT_CLAIM="project",
        VMAPI_RATE_READS="off",
        VMAPI_RATE_ADDRESS="off",
    )
    server.start().wait_for("/readyz")
    return server


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_tokens_of_the_provider_authenticate(server: Gunicorn, authority: OidcProvider) -> None:
    tokens = {role: authority.fetch_token(role) for role in ("viewer", "operator", "stranger")}
    assert jwt.get_unverified_header(tokens["viewer"])["typ"] == "at+jwt"
    ask = server.call
    assert ask("GET", "/api/v1/vms", headers=bearer(tokens["viewer"])).status == 200
    ask("POST", "/api/v1/vms", CREATE_BODY, headers=bearer(tokens["viewer"])).check_problem(
        403, "forbidden"
    )
    created = ask("POST", "/api/v1/vms", CREATE_BODY, headers=bearer(tokens["operator"]))
    assert created.status in (201, 202)
    ask("GET", "/api/v1/vms", headers=bearer(tokens["stranger"])).check_problem(403, "forbidden")
    other_audience = authority.fetch_token("operator", "https://else.example.org")
    ask("GET", "/api/v1/vms", headers=bearer(other_audience)).check_problem(401, "unauthenticated")
    assert (
        server.wait_for_line(endpoint="POST /api/v1/vms", status=created.status)["user"]
        == "jwt:operator"
    )
    assert not any(token in server.read_log() for token in tokens.values())


class RequestLoad:
    """Threads that send requests, each request with a new token."""

    def __init__(self, server: Gunicorn, sample_token: str) -> None:
        self.server = server
        self.claims = jwt.decode(sample_token, options={"verify_signature": False})
        self.key = jwt.PyJWK(FIRST)
        self.answers: list[HttpResponse] = []
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self._send_requests) for _ in range(3)]

    def _send_requests(self) -> None:
        while not self.stopped.is_set():
            headers = bearer(self._token())
            self.answers.append(self.server.call("GET", "/api/v1/flavors", headers=headers))

    def _token(self) -> str:
        # a new id, because vmapi caches verified tokens
        claims = {**self.claims, "jti": str(uuid4())}
        return jwt.encode(claims, self.key, headers={"typ": "at+jwt", "kid": "first"})

    def wait_for_progress(self) -> None:
        before = len(self.answers)
        wait_until("more requests", lambda: len(self.answers) > before + 20)

    def __enter__(self) -> "RequestLoad":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()


def test_key_rotation_under_load_fails_no_request(
    server: Gunicorn, authority: OidcProvider
) -> None:
    with RequestLoad(server, authority.fetch_token("viewer")) as load:
        load.wait_for_progress()
        authority.stop()
        load.wait_for_progress()
        authority.start(SECOND, FIRST)
        new_token = authority.fetch_token("viewer")
        assert jwt.get_unverified_header(new_token)["kid"] == "second"

        def is_accepted() -> bool:
            return server.call("GET", "/api/v1/vms", headers=bearer(new_token)).status == 200

        wait_until("the new key", is_accepted)
        load.wait_for_progress()
    assert [answer for answer in load.answers if answer.status != 200] == []
