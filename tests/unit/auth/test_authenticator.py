"""The authenticator: selection of the validator, requests without a token."""

import pytest

from vmapi.auth.authenticator import Authenticator
from vmapi.domain.access.identity import Identity, anonymous
from vmapi.domain.access.roles import Role
from vmapi.errors import Unauthenticated

ANONYMOUS = anonymous("home")
CI = Identity("ci", Role.VIEWER, "web")
LOOPBACK_ADDRESSES = ["", "127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"]
REMOTE_ADDRESSES = ["192.0.2.1", "2001:db8::7", "::ffff:192.0.2.1", "x" * 64, "localhost"]


class PrefixValidator:
    """Accepts the token `LETTER-good` of those that begin with its letter."""

    def __init__(self, letter: str) -> None:
        self.letter = letter

    def matches(self, token: str) -> bool:
        return token.startswith(self.letter)

    def authenticate(self, token: str) -> Identity:
        if token != f"{self.letter}-good":
            raise Unauthenticated(f"not {self.letter}", credentials_sent=True)
        return CI


def rejection(
    authenticator: Authenticator, token: str | None, address: str = "127.0.0.1"
) -> tuple[str, bool]:
    with pytest.raises(Unauthenticated) as caught:
        authenticator.authenticate(token, address)
    return caught.value.detail, caught.value.credentials_sent


def test_token_goes_to_the_validator_that_matches_it() -> None:
    authenticator = Authenticator(
        [PrefixValidator("a"), PrefixValidator("b")],
        anonymous_identity=None,
        allow_remote_anonymous=False,
    )
    assert authenticator.authenticate("b-good", "192.0.2.1") == CI
    assert rejection(authenticator, "a-bad") == ("not a", True)
    assert rejection(authenticator, "c") == ("This token is of no accepted type.", True)
    assert rejection(authenticator, "a" * 8193) == ("A token has at most 8192 characters.", True)
    assert rejection(authenticator, None) == ("Send a token: Authorization: Bearer TOKEN.", False)


@pytest.mark.parametrize("address", LOOPBACK_ADDRESSES)
def test_loopback_request_without_a_token_is_anonymous(address: str) -> None:
    authenticator = Authenticator(
        [PrefixValidator("a")], anonymous_identity=ANONYMOUS, allow_remote_anonymous=False
    )
    assert authenticator.authenticate(None, address) == ANONYMOUS
    # a token that is sent must be valid all the same
    assert rejection(authenticator, "a-bad", address) == ("not a", True)


@pytest.mark.parametrize("address", REMOTE_ADDRESSES)
def test_remote_request_without_a_token_is_rejected_unless_allowed(address: str) -> None:
    authenticator = Authenticator([], anonymous_identity=ANONYMOUS, allow_remote_anonymous=False)
    detail, credentials_sent = rejection(authenticator, None, address)
    assert detail.startswith("Requests without a token are accepted from this machine only.")
    assert not credentials_sent
    assert (
        Authenticator([], anonymous_identity=ANONYMOUS, allow_remote_anonymous=True).authenticate(
            None, address
        )
        == ANONYMOUS
    )


def test_anonymous_identity_is_an_admin_of_the_default_project() -> None:
    assert (ANONYMOUS.subject, ANONYMOUS.role, ANONYMOUS.project) == ("anonymous", "admin", "home")
    assert ANONYMOUS.scope is None


def test_token_is_ignored_without_validators() -> None:
    authenticator = Authenticator([], anonymous_identity=ANONYMOUS, allow_remote_anonymous=False)
    assert authenticator.authenticate("anything", "127.0.0.1") == ANONYMOUS
