"""Fixtures of conditional requests: an instant cloud or a remote one, with one VM."""

import pytest

from tests.support.api_harness import ApiHarness
from tests.support.fake_clock import Clock
from tests.support.remote_cloud import RemoteBackend, sync_inventory
from vmapi.backends.memory.driver import MemoryBackend


@pytest.fixture
def backend(request: pytest.FixtureRequest, clock: Clock) -> MemoryBackend:
    """The instant memory cloud, or the remote one."""
    kind = RemoteBackend if getattr(request, "param", "") == "far" else MemoryBackend
    return kind(clock=clock, sleep=clock.sleep)


@pytest.fixture
def running_vm_id(harness: ApiHarness) -> str:
    """A RUNNING VM, web-1."""
    vm_id = harness.create_running()
    if isinstance(harness.backend, RemoteBackend):
        sync_inventory(harness)
    return vm_id
