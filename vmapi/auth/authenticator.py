"""The gate: what a caller has sent becomes an identity, or it is refused."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Protocol

from vmapi.domain.identity import Identity
from vmapi.errors import Unauthenticated

LONGEST = 8192
"""Characters of a token: as much as gunicorn and nginx let through in one header."""

WANTED = "Send a token: Authorization: Bearer TOKEN."
FROM_HERE = (
    "Who does not say who it is must be on this machine. "
    "Set VMAPI_AUTH=token, or VMAPI_ALLOW_ANONYMOUS=true if everybody may do everything."
)


class Validator(Protocol):
    """One kind of token."""

    def recognises(self, token: str) -> bool:
        """Tell by its form alone whether a token is of this kind."""
        ...

    def identify(self, token: str) -> Identity:
        """Return whose it is.

        Raises Unauthenticated, IssuerUnavailable, StoreUnavailable.
        """
        ...


class Gate:
    """Lets callers in by the kinds of tokens that are configured.

    `anonymous` is who sends none: from this machine, or `from_anywhere`. `keystone` is for tokens
    of which it is said that they are Keystone's.
    """

    def __init__(
        self,
        validators: Sequence[Validator],
        *,
        anonymous: Identity | None,
        from_anywhere: bool,
        keystone: Validator | None = None,
    ) -> None:
        self._validators = validators
        self.keystone = keystone
        self._anonymous = anonymous
        self._from_anywhere = from_anywhere

    def admit(self, token: str | None, address: str) -> Identity:
        """Return who asks, by its token and from where it asks; no address is a unix socket.

        Where no kind of token is configured, what is sent is not looked at: a script made for
        another vmapi works here. Raises Unauthenticated, IssuerUnavailable, StoreUnavailable.
        """
        if token is None or not self._validators:
            return self._unnamed(address)
        for validator in self._validators:
            if validator.recognises(token):
                return _identified(validator, token)
        raise Unauthenticated("This is no token of a kind that is taken here.", sent=True)

    def admit_by_keystone(self, token: str) -> Identity:
        """Return who asks, by a token of Keystone's. Raises as `admit`."""
        assert self.keystone is not None
        return _identified(self.keystone, token)

    def _unnamed(self, address: str) -> Identity:
        if self._anonymous is None:
            raise Unauthenticated(WANTED)
        if not self._from_anywhere and address and not _on_this_machine(address):
            raise Unauthenticated(FROM_HERE)
        return self._anonymous


def _identified(validator: Validator, token: str) -> Identity:
    if len(token) > LONGEST:
        raise Unauthenticated(f"A token has at most {LONGEST} characters.", sent=True)
    return validator.identify(token)


def _on_this_machine(address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback
