"""A factory of in-memory clouds with a controlled clock."""

from typing import Any

from tests.contract.cloud_under_test import CloudUnderTest
from tests.support.fake_clock import Clock
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.settings.memory import parse_latency


class MemoryCloudFactory:
    """Makes a cloud under test on the clock of the test."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, latency: str = "0", **options: Any) -> CloudUnderTest:
        """Make a cloud; `latency` is as in VMAPI_MEMORY_LATENCY."""
        clock = self._clock
        backend = MemoryBackend(
            latency=parse_latency(latency), clock=clock, sleep=clock.sleep, **options
        )
        return CloudUnderTest(backend, "mem", clock.sleep)
