"""The gate: what a caller has sent becomes an identity, or it is refused."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Protocol

from vmapi.domain.identity import Identity
from vmapi.errors import Unauthenticated

MAX_TOKEN_CHARS = 8192
"""Characters of a token: as much as gunicorn and nginx let through in one header."""

MISSING_BEARER_DETAIL = "Send a token: Authorization: Bearer TOKEN."
LOOPBACK_ONLY_DETAIL = (
    "Who does not say who it is must be on this machine. "
    "Set VMAPI_AUTH=token, or VMAPI_ALLOW_ANONYMOUS=true if everybody may do everything."
)


class TokenValidator(Protocol):
    """One kind of token."""

    def matches(self, token: str) -> bool:
        """Tell by its form alone whether a token is of this kind."""
        ...

    def authenticate(self, token: str) -> Identity:
        """Return whose it is.

        Raises Unauthenticated, IssuerUnavailable, StoreUnavailable.
        """
        ...


class Authenticator:
    """Lets callers in by the kinds of tokens that are configured.

    `anonymous` is who sends none: from this machine, or `from_anywhere`. `keystone` is for tokens
    of which it is said that they are Keystone's.
    """

    def __init__(
        self,
        validators: Sequence[TokenValidator],
        *,
        anonymous_identity: Identity | None,
        allow_remote_anonymous: bool,
        keystone_validator: TokenValidator | None = None,
    ) -> None:
        self._validators = validators
        self.keystone_validator = keystone_validator
        self._anonymous_identity = anonymous_identity
        self._allow_remote_anonymous = allow_remote_anonymous

    def authenticate(self, token: str | None, address: str) -> Identity:
        """Return who asks, by its token and from where it asks; no address is a unix socket.

        Where no kind of token is configured, what is sent is not looked at: a script made for
        another vmapi works here. Raises Unauthenticated, IssuerUnavailable, StoreUnavailable.
        """
        if token is None or not self._validators:
            return self._authenticate_anonymous(address)
        for validator in self._validators:
            if validator.matches(token):
                return _validate_token(validator, token)
        raise Unauthenticated(
            "This is no token of a kind that is taken here.", credentials_sent=True
        )

    def authenticate_with_keystone(self, token: str) -> Identity:
        """Return who asks, by a token of Keystone's. Raises as `admit`."""
        assert self.keystone_validator is not None
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


def _is_loopback_address(address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback
