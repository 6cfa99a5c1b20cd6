"""Rate limits: how many requests a caller or an address may send in a time window."""

from collections.abc import Mapping
from dataclasses import dataclass, field

RATE_UNIT_SECONDS: Mapping[str, int] = {"second": 1, "minute": 60, "hour": 3600}


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `amount` requests in each window of one `unit`."""

    amount: int
    #: second, minute or hour.
    unit: str
    #: The name of the limit in response headers.
    name: str
    #: The length of the window in seconds.
    window: int = field(init=False)

    def __post_init__(self) -> None:
        """Derive the window from the unit."""
        object.__setattr__(self, "window", RATE_UNIT_SECONDS[self.unit])
