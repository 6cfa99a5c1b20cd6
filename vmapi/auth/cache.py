"""Who has a token, and for how long that need not be asked again."""

from dataclasses import dataclass

from vmapi.domain.identity import Identity


@dataclass(frozen=True, slots=True)
class CachedIdentity:
    """A token that was good; after so many `seconds` it is verified anew."""

    identity: Identity
    ttl_seconds: float


def cache_expiry(_: str, entry: CachedIdentity, now: float) -> float:
    """Return when a token is to be verified anew (for `cachetools.TLRUCache`)."""
    return now + entry.ttl_seconds
