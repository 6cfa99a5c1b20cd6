"""How late the inventory shows what others have changed, as a client sees it."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from threading import Event, Thread

import requests

from tests.support.live.api_script import BASE

WATCH_INTERVAL = 0.25
"""Seconds between two looks."""


class InventoryWatch:
    """Reads the list of VMs whose names begin with `label`."""

    def __init__(self, url: str, label: str) -> None:
        self._url = f"{url}{BASE}/vms?page_size=1000&name={label}-*"
        self._seen: set[tuple[str, str]] = set()

    @contextmanager
    def measuring_lag(self, title: str) -> Iterator[None]:
        """Print how late each change was shown that came while the block lasts.

        Nova cuts its times off at the second, so half a second of that is none on average.
        """
        self._read_new()
        found: list[float] = []
        done = Event()

        def look() -> None:
            while not done.wait(WATCH_INTERVAL):
                found.extend(self._read_new())

        thread = Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
        late = sorted(found) or [0.0]
        print(
            f"{title}: {len(found)} changes were shown after {statistics.median(late):.1f} s, "
            f"90 % within {late[len(late) * 9 // 10]:.1f} s, all within {late[-1]:.1f} s"
        )

    def _read_new(self) -> list[float]:
        """Return how late everything is that was not shown before."""
        response = requests.get(self._url, timeout=30)
        now = time.time()
        shown = {(vm["id"], vm["updated_at"]) for vm in response.json()["items"]}
        new = shown - self._seen
        self._seen |= shown
        return [now - datetime.fromisoformat(changed).timestamp() for _, changed in new]
