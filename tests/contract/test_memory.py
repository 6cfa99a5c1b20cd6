"""The in-memory cloud keeps the contract: at once, and when it takes its time."""

from collections.abc import Iterator
from functools import partial

import pytest

from tests.contract.cloud_under_test import Cloud
from tests.contract.suite import BackendSuite
from tests.support.fake_clock import Clock
from vmapi.backends.breaker_backend import CircuitBreakerBackend
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.vm import CreateSpec
from vmapi.settings.memory import parse_latency


class TestMemory(BackendSuite):
    """Everything is done as soon as it is asked for."""

    latency = "0"
    guarded = False

    @pytest.fixture
    def cloud(self) -> Iterator[Cloud]:
        clock, slow = Clock(), self.latency != "0"
        backend = MemoryBackend(latency=parse_latency(self.latency), clock=clock, sleep=clock.sleep)

        def failing(spec: CreateSpec, fault: str) -> CreateSpec:
            backend.set_faults(f"{fault}=1")
            return spec

        cloud = Cloud(
            CircuitBreakerBackend(backend) if self.guarded else backend,
            "mem",
            clock.sleep,
            slow_actions=slow,
            slow_build=(lambda spec: spec) if slow else None,
            failing_build=partial(failing, fault="build_failed"),
            homeless_build=partial(failing, fault="no_capacity"),
        )
        with cloud.cleaned():
            yield cloud


class TestSlowMemory(TestMemory):
    """Everything takes its time, so that it can be seen under way."""

    latency = "create=2,update=0,*=0.5"


class TestGuardedMemory(TestMemory):
    """A breaker in between changes nothing while the cloud answers."""

    guarded = True
