"""A real issuer: its tokens open vmapi, and its keys are turned over under load."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import jwt
import pytest

from tests.support.http_client import HttpResponse, wait_until
from tests.support.oidc_provider import AUDIENCE, OidcProvider, generate_key, install_provider
from tests.support.processes import Gunicorn, ServerProcess

WANTED = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"}
FIRST, SECOND = generate_key("first"), generate_key("second")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_provider(tmp_path_factory.mktemp("issuer"))


@pytest.fixture
def authority(folder: Path) -> Iterator[OidcProvider]:
    made = OidcProvider(folder)
    made.start(FIRST)
    yield made
    made.stop()


@pytest.fixture
def server(gunicorn: Callable[..., Gunicorn], authority: ServerProcess) -> Gunicorn:
    made = gunicorn(
        VMAPI_AUTH="jwt",
        VMAPI_JWT_ISSUER=f"http://127.0.0.1:{authority.port}",
        VMAPI_JWT_AUDIENCE=AUDIENCE,
        VMAPI_JWT_PROJECT_CLAIM="project",
        VMAPI_RATE_READS="off",
        VMAPI_RATE_ADDRESS="off",
    )
    made.start().wait_for("/readyz")
    return made


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_its_tokens_open_the_door(server: Gunicorn, authority: OidcProvider) -> None:
    tokens = {role: authority.fetch_token(role) for role in ("viewer", "operator", "stranger")}
    assert jwt.get_unverified_header(tokens["viewer"])["typ"] == "at+jwt"
    ask = server.call
    assert ask("GET", "/api/v1/vms", headers=bearer(tokens["viewer"])).status == 200
    ask("POST", "/api/v1/vms", WANTED, headers=bearer(tokens["viewer"])).check_problem(
        403, "forbidden"
    )
    made = ask("POST", "/api/v1/vms", WANTED, headers=bearer(tokens["operator"]))
    assert made.status in (201, 202)
    ask("GET", "/api/v1/vms", headers=bearer(tokens["stranger"])).check_problem(403, "forbidden")
    elsewhere = authority.fetch_token("operator", "https://else.example.org")
    ask("GET", "/api/v1/vms", headers=bearer(elsewhere)).check_problem(401, "unauthenticated")
    assert (
        server.wait_for_line(endpoint="POST /api/v1/vms", status=made.status)["user"]
        == "jwt:operator"
    )
    assert not any(token in server.read_log() for token in tokens.values())


class Load:
    """Requests, one after the other in each of some threads, each with a token of its own."""

    def __init__(self, server: Gunicorn, like: str) -> None:
        self.server = server
        self.claims = jwt.decode(like, options={"verify_signature": False})
        self.key = jwt.PyJWK(FIRST)
        self.answers: list[HttpResponse] = []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._ask) for _ in range(3)]

    def _ask(self) -> None:
        while not self.over.is_set():
            headers = bearer(self._token())
            self.answers.append(self.server.call("GET", "/api/v1/flavors", headers=headers))

    def _token(self) -> str:
        # what was verified before would not be verified again
        claims = {**self.claims, "jti": str(uuid4())}
        return jwt.encode(claims, self.key, headers={"typ": "at+jwt", "kid": "first"})

    def goes_on(self) -> None:
        before = len(self.answers)
        wait_until("more of the load", lambda: len(self.answers) > before + 20)

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()


def test_keys_are_turned_over_under_load(server: Gunicorn, authority: OidcProvider) -> None:
    with Load(server, authority.fetch_token("viewer")) as load:
        load.goes_on()
        authority.stop()
        load.goes_on()
        authority.start(SECOND, FIRST)
        fresh = authority.fetch_token("viewer")
        assert jwt.get_unverified_header(fresh)["kid"] == "second"

        def opens() -> bool:
            return server.call("GET", "/api/v1/vms", headers=bearer(fresh)).status == 200

        wait_until("the new key is known", opens)
        load.goes_on()
    assert [answer for answer in load.answers if answer.status != 200] == []
