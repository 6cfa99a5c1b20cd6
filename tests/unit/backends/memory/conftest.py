"""Fixtures of the in-memory cloud."""

import pytest

from tests.support.fake_clock import Clock
from tests.support.memory_cloud import MemoryCloudFactory


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_cloud(clock: Clock) -> MemoryCloudFactory:
    return MemoryCloudFactory(clock)
