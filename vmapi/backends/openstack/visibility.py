"""Whose servers vmapi's account is shown."""

import time
from collections.abc import Callable, Mapping
from math import inf
from typing import TypeVar

import structlog

from vmapi.errors import Forbidden

log = structlog.get_logger("vmapi.backend")

AGAIN = 600.0
"""Seconds after which a cloud that refuses the servers of all projects is asked for them again."""

EVERYWHERE = "every project"
OWN = "its own project only"
REFUSED = "its own project only: Nova refuses all_tenants to this account"

T = TypeVar("T")


class Reach:
    """Those of its own project, or `everywhere` of all projects, where Nova's policy lets it.

    `monotonic` is in seconds.
    """

    def __init__(
        self, *, everywhere: bool, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.everywhere = everywhere
        self._monotonic = monotonic
        self._refused = -inf
        self._known = False

    def over(self, ask: Callable[[Mapping[str, str]], T]) -> T:
        """Return what is answered when it is asked for all that may be seen.

        `ask` is given the filters of a list of servers.
        """
        if self._is_tried:
            try:
                answer = ask({"all_tenants": "1"})
            except Forbidden as refusal:
                self._refused, self._known = self._monotonic(), True
                log.warning("VMs of other projects are not seen", reason=refusal.detail)
            else:
                self._refused, self._known = -inf, True
                return answer
        return ask({})

    def is_wide(self, ask: Callable[[Mapping[str, str]], object]) -> bool:
        """Tell whether other projects' servers are seen; where that is not known, `ask`."""
        if self.everywhere and not self._known:
            self.over(ask)
        return self._is_tried

    def __str__(self) -> str:
        """Say whose are seen."""
        if not self.everywhere:
            return OWN
        if not self._known:
            return "not asked yet"
        return EVERYWHERE if self._is_tried else REFUSED

    @property
    def _is_tried(self) -> bool:
        return self.everywhere and self._monotonic() - self._refused >= AGAIN
