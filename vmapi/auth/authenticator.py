"""Authentication: turns the token and the address of a request into an identity, or rejects it.

The HTTP middleware calls the authenticator; each validator knows one type of token.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Protocol

from vmapi.domain.access.identity import Identity
from vmapi.errors import Unauthenticated

#: The longest header that gunicorn and nginx accept.
MAX_TOKEN_CHARS = 8192

MISSING_BEARER_DETAIL = "Send a token: Authorization: Bearer TOKEN."
MISDIRECTED_BEARER_DETAIL = (
    "This token is not Keystone's: send it in the header Authorization: Bearer TOKEN."
)
LOOPBACK_ONLY_DETAIL = (
    "Requests without a token are accepted from this machine only. "
    "Set VMAPI_AUTH=token, or VMAPI_ALLOW_ANONYMOUS=true if everybody may do everything."
)


class TokenValidator(Protocol):
    """Validates one type of token."""

    def matches(self, token: str) -> bool:
        """Return whether the form of a token is the form of this type."""
        ...

    def has_issued(self, token: str) -> bool:
        """Return whether a token is known to come from the issuer of this type."""
        ...

    def authenticate(self, token: str) -> Identity:
        """Return the identity of a token.

        Raises Unauthenticated, IssuerUnavailable, StoreUnavailable.
        """
        ...


class KeystoneTokenValidator(TokenValidator, Protocol):
    """Validates the tokens of one Keystone."""

    def ping(self) -> None:
        """Send a request without a token. Raises IssuerUnavailable without a response."""
        ...


class Authenticator:
    """Authenticates requests by the types of tokens that the settings enable.

    The first validator that matches a token validates it. Requests without a token get the
    `anonymous_identity`, if any: from loopback only, unless `allow_remote_anonymous`.
    """

    def __init__(
        self,
        validators: Sequence[TokenValidator],
        *,
        anonymous_identity: Identity | None,
        allow_remote_anonymous: bool,
        keystone_validator: KeystoneTokenValidator | None = None,
    ) -> None:
        self._validators = validators
        #: Validates tokens that the client declares as Keystone tokens (`X-Auth-Token`).
        self.keystone_validator = keystone_validator
        self._anonymous_identity = anonymous_identity
        self._allow_remote_anonymous = allow_remote_anonymous

    def authenticate(self, token: str | None, address: str) -> Identity:
        """Return the identity of a request; an empty address stands for a unix socket.

        Without validators a token is ignored, so that a script that sends one works here too.
        Raises Unauthenticated, IssuerUnavailable, StoreUnavailable.
        """
        if token is None or not self._validators:
            return self._authenticate_anonymous(address)
        for validator in self._validators:
            if validator.matches(token):
                return _validate_token(validator, token)
        raise Unauthenticated("This token is of no accepted type.", credentials_sent=True)

    def authenticate_with_keystone(self, token: str) -> Identity:
        """Return the identity of a Keystone token. Raises as `authenticate`.

        A token of another issuer is refused here: Keystone must not see it.
        """
        assert self.keystone_validator is not None
        if any(validator.has_issued(token) for validator in self._validators):
            raise Unauthenticated(MISDIRECTED_BEARER_DETAIL, credentials_sent=True)
        return _validate_token(self.keystone_validator, token)

    def _authenticate_anonymous(self, address: str) -> Identity:
        if self._anonymous_identity is None:
            raise Unauthenticated(MISSING_BEARER_DETAIL)
        if not self._allow_remote_anonymous and address and not _is_loopback_address(address):
            raise Unauthenticated(LOOPBACK_ONLY_DETAIL)
        return self._anonymous_identity


def _validate_token(validator: TokenValidator, token: str) -> Identity:
    if len(token) > MAX_TOKEN_CHARS:
        raise Unauthenticated(
            f"A token has at most {MAX_TOKEN_CHARS} characters.", credentials_sent=True
        )
    return validator.authenticate(token)


@lru_cache(4096)
def _is_loopback_address(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
