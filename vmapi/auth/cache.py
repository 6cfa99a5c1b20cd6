"""Who has a token, and for how long that need not be asked again."""

from dataclasses import dataclass

from vmapi.domain.identity import Identity


@dataclass(frozen=True, slots=True)
class Verified:
    """A token that was good; after so many `seconds` it is verified anew."""

    identity: Identity
    seconds: float


def until(_: str, verified: Verified, now: float) -> float:
    """Return when a token is to be verified anew (for `cachetools.TLRUCache`)."""
    return now + verified.seconds
