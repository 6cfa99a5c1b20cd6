"""In-memory clouds with a controlled clock, and what happens in them outside vmapi."""

from typing import Any

import pytest

from tests.contract.cloud_under_test import CloudUnderTest
from tests.support.fake_clock import Clock
from vmapi.backends.memory.cloud import Cloud
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.settings.memory import parse_latency

slow = pytest.mark.parametrize("latency", ["create=2,delete=2,update=0,*=1"], ids=["slow"])
"""Runs a test on a cloud where every change but an update takes time."""


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


def remove_instances(cloud: Cloud) -> None:
    """Delete all instances at once, as their owner does outside vmapi."""
    for instance in list(cloud.instances):
        cloud.instances.remove(instance, instance.updated_at)
