"""The order of the tests for several processes of pytest-xdist.

With `--dist worksteal`, each process begins with an equal share of the list of tests. An idle
process takes the second half of the rest of another one. A long test at the end of a share
would run while the other processes have nothing left to do. So each share begins with tests of
servers and browsers, and ends with quick tests.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TypeVar

import pytest

T = TypeVar("T")

SHARED_FIXTURE = "wheel"
"""A fixture that takes seconds in each process: one process runs all tests that use it."""


def order_for_processes(
    tests: Sequence[T], process_count: int, slow_group: Callable[[T], str | None]
) -> list[T]:
    """Return the tests with those of each slow group at the beginning of a share.

    `slow_group` returns the name of the group of a slow test; None for a quick one.
    """
    groups: defaultdict[str | None, list[T]] = defaultdict(list)
    for test in tests:
        groups[slow_group(test)].append(test)
    quick = iter(groups.pop(None, ()))
    shares: list[list[T]] = [[] for _ in range(process_count)]
    for group in sorted(groups.values(), key=len, reverse=True):
        min(shares, key=len).extend(group)
    unshared = len(tests)
    for number, share in enumerate(shares):
        # the length that xdist gives to the next of the remaining processes
        length = unshared // (process_count - number)
        share.extend(islice(quick, max(length - len(share), 0)))
        unshared -= length
    return [test for share in (*shares, quick) for test in share]


def slow_group_of(item: pytest.Item) -> str | None:
    """Return the module of a test that starts servers, or its fixture; None for another test."""
    if item.get_closest_marker("e2e") is None:
        return None
    fixtures: Sequence[str] = getattr(item, "fixturenames", ())
    return SHARED_FIXTURE if SHARED_FIXTURE in fixtures else str(item.path)
