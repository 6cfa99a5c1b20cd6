"""The lag of the inventory behind changes by others, as a client observes it."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from threading import Event, Thread

import requests

from tests.support.live.api_script import BASE

WATCH_INTERVAL = 0.25
"""Seconds between two reads."""


class InventoryWatch:
    """Reads the list of VMs with the name prefix `label`."""

    def __init__(self, url: str, label: str) -> None:
        self._url = f"{url}{BASE}/vms?page_size=1000&name={label}-*"
        self._known_versions: set[tuple[str, str]] = set()

    @contextmanager
    def measuring_lag(self, title: str) -> Iterator[None]:
        """Print the lag of the changes during a `with` block.

        Nova truncates its times to the second, so half a second of the lag is not real on average.
        """
        self._read_new()
        lags: list[float] = []
        done = Event()

        def read_repeatedly() -> None:
            while not done.wait(WATCH_INTERVAL):
                lags.extend(self._read_new())

        thread = Thread(target=read_repeatedly)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
        sorted_lags = sorted(lags) or [0.0]
        print(
            f"{title}: {len(lags)} changes were shown, "
            f"half of them within {statistics.median(sorted_lags):.1f} s, "
            f"90 % within {sorted_lags[len(sorted_lags) * 9 // 10]:.1f} s, "
            f"all within {sorted_lags[-1]:.1f} s"
        )

    def _read_new(self) -> list[float]:
        """Read the list, and return the lag of each new change in seconds."""
        response = requests.get(self._url, timeout=30)
        now = time.time()
        versions = {(vm["id"], vm["updated_at"]) for vm in response.json()["items"]}
        new_versions = versions - self._known_versions
        self._known_versions |= versions
        return [
            now - datetime.fromisoformat(updated_at).timestamp() for _, updated_at in new_versions
        ]
