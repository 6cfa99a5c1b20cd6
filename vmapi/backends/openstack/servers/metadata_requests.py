"""A patch of metadata as requests to Nova that leave all other pairs alone.

Nova API "Create or Update Metadata Items", "Delete Metadata Item" and "Replace Metadata Items".
The server commands send the plan. Pure functions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

DOT_SEGMENTS = (".", "..")
"""Keys that no URL can hold as its last segment (RFC 3986, section 5.2.4)."""


@dataclass(frozen=True, slots=True)
class MetadataPlan:
    """The requests of one patch, in the order of the fields."""

    replaced: Mapping[str, str] | None = None
    """All pairs, to send in place of the present ones; None for no such request."""
    removed: tuple[str, ...] = ()
    """Keys to remove one by one."""
    updated: Mapping[str, str] = field(default_factory=dict)
    """Pairs to add or change."""


def plan_metadata_requests(
    current: Mapping[str, str], patch: Mapping[str, str | None]
) -> MetadataPlan:
    """Return the plan for a patch in which None removes a key.

    `current` are the pairs of the server: a removal of an absent key, and a pair that has its value
    already, need no request.
    """
    removed = [key for key, value in patch.items() if value is None and key in current]
    updated = {
        key: value
        for key, value in patch.items()
        if value is not None and current.get(key) != value
    }
    if any(key in DOT_SEGMENTS for key in removed):
        remaining = {key: value for key, value in current.items() if key not in removed}
        return MetadataPlan(replaced={**remaining, **updated})
    # Nova on MySQL removes the pairs with the same key in other case too
    removed_names = {_collated(key) for key in removed}
    siblings = {
        key: value
        for key, value in current.items()
        if key not in patch and _collated(key) in removed_names
    }
    return MetadataPlan(removed=tuple(removed), updated={**siblings, **updated})


def _collated(key: str) -> str:
    """Return a key as MySQL's default collation compares it."""
    return key.rstrip(" ").lower()
