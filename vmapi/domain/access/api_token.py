"""API tokens: `vmapi_`, 36 random letters and digits, and a checksum of 6.

The prefix lets secret scanners find a token in a repository. The checksum lets the authenticator
refuse a typo without a query of the database.
"""

import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass
from datetime import datetime

from vmapi.domain.access.identity import Identity
from vmapi.domain.access.roles import Role

BEARER_PREFIX = "vmapi_"
TOKEN_ALPHABET = string.digits + string.ascii_letters
TOKEN_RANDOM_CHARS = 36
"""36 characters out of 62 hold 214 random bits."""
TOKEN_CHECKSUM_CHARS = 6
TOKEN_PATTERN = re.compile(
    rf"{BEARER_PREFIX}[0-9A-Za-z]{{{TOKEN_RANDOM_CHARS + TOKEN_CHECKSUM_CHARS}}}", re.ASCII
)
HIDDEN_TOKEN = f"{BEARER_PREFIX}***"


@dataclass(frozen=True, slots=True)
class ApiToken:
    """The stored record of a token; the token itself is never stored."""

    id: str
    digest: str
    subject: str
    role: Role
    project: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    is_revoked: bool = False
    """Whether the token was revoked at once: also if a clock that was ahead wrote `revoked_at`."""

    @property
    def identity(self) -> Identity:
        """The identity of a caller with this token."""
        return Identity(self.subject, self.role, self.project)

    def state(self, now: datetime) -> str:
        """Return `active`, `revoked` or `expired`."""
        if self.is_revoked or (self.revoked_at is not None and self.revoked_at <= now):
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "active"


def generate_token() -> str:
    """Return a new random token."""
    body = BEARER_PREFIX + "".join(
        secrets.choice(TOKEN_ALPHABET) for _ in range(TOKEN_RANDOM_CHARS)
    )
    return body + _compute_checksum(body)


def is_well_formed(token: str) -> bool:
    """Return whether a text has the form of a token and a valid checksum."""
    return (
        TOKEN_PATTERN.fullmatch(token) is not None
        and _compute_checksum(token[:-TOKEN_CHECKSUM_CHARS]) == token[-TOKEN_CHECKSUM_CHARS:]
    )


def hide_tokens(text: str) -> str:
    """Return a text with `vmapi_***` in place of each token."""
    return TOKEN_PATTERN.sub(HIDDEN_TOKEN, text)


def hash_token(token: str) -> str:
    """Return the digest that is stored for a token: its SHA-256.

    Slow hashes protect passwords, which an attacker can guess. 214 random bits need none: a fast
    hash is as safe, and each request computes it.
    """
    return hashlib.sha256(token.encode()).hexdigest()


def _compute_checksum(body: str) -> str:
    value, letters = zlib.crc32(body.encode()), ""
    for _ in range(TOKEN_CHECKSUM_CHARS):
        value, rest = divmod(value, len(TOKEN_ALPHABET))
        letters += TOKEN_ALPHABET[rest]
    return letters
