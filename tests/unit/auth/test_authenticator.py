"""The gate: which tokens it takes, and from where one may come without."""

import pytest

from vmapi.auth.authenticator import Authenticator
from vmapi.domain.identity import Identity, anonymous
from vmapi.domain.roles import Role
from vmapi.errors import Unauthenticated

ANONYMOUS = anonymous("home")
CI = Identity("ci", Role.VIEWER, "web")
HERE = ["", "127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"]
ELSEWHERE = ["192.0.2.1", "2001:db8::7", "::ffff:192.0.2.1", "x" * 64, "localhost"]

ANYBODY = anonymous("default")


class Letters:
    """Takes tokens that begin with a letter of its own."""

    def __init__(self, letter: str) -> None:
        self.letter = letter

    def matches(self, token: str) -> bool:
        return token.startswith(self.letter)

    def authenticate(self, token: str) -> Identity:
        if token != f"{self.letter}-good":
            raise Unauthenticated(f"not {self.letter}", credentials_sent=True)
        return CI


def refused(gate: Authenticator, token: str | None, address: str = "127.0.0.1") -> tuple[str, bool]:
    with pytest.raises(Unauthenticated) as caught:
        gate.authenticate(token, address)
    return caught.value.detail, caught.value.credentials_sent


def test_a_token_is_shown_to_the_one_that_knows_its_kind() -> None:
    gate = Authenticator(
        [Letters("a"), Letters("b")], anonymous_identity=None, allow_remote_anonymous=False
    )
    assert gate.authenticate("b-good", "192.0.2.1") == CI
    assert refused(gate, "a-bad") == ("not a", True)
    assert refused(gate, "c") == ("This token is of no accepted type.", True)
    assert refused(gate, "a" * 8193) == ("A token has at most 8192 characters.", True)
    assert refused(gate, None) == ("Send a token: Authorization: Bearer TOKEN.", False)


@pytest.mark.parametrize("address", HERE)
def test_who_is_here_needs_none_where_none_is_asked_for(address: str) -> None:
    gate = Authenticator([Letters("a")], anonymous_identity=ANONYMOUS, allow_remote_anonymous=False)
    assert gate.authenticate(None, address) == ANONYMOUS
    # but a wrong one is wrong
    assert refused(gate, "a-bad", address) == ("not a", True)


@pytest.mark.parametrize("address", ELSEWHERE)
def test_who_is_not_needs_one_all_the_same(address: str) -> None:
    gate = Authenticator([], anonymous_identity=ANONYMOUS, allow_remote_anonymous=False)
    told, sent = refused(gate, None, address)
    assert told.startswith("Requests without a token are accepted from this machine only.")
    assert not sent
    assert (
        Authenticator([], anonymous_identity=ANONYMOUS, allow_remote_anonymous=True).authenticate(
            None, address
        )
        == ANONYMOUS
    )


def test_who_is_not_named_is_an_admin_at_home() -> None:
    assert (ANONYMOUS.subject, ANONYMOUS.role, ANONYMOUS.project) == ("anonymous", "admin", "home")
    assert ANONYMOUS.scope is None


def test_where_no_kind_is_configured_what_is_sent_is_not_looked_at() -> None:
    gate = Authenticator([], anonymous_identity=ANONYMOUS, allow_remote_anonymous=False)
    assert gate.authenticate("anything", "127.0.0.1") == ANONYMOUS
