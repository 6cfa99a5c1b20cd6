"""The driver contract on the in-memory cloud: immediate, slow, and behind a circuit breaker."""

from collections.abc import Iterator
from functools import partial

import pytest

from tests.contract.cloud_under_test import CloudUnderTest
from tests.contract.suite import BackendSuite
from tests.support.fake_clock import Clock
from vmapi.backends.breaker_backend import CircuitBreakerBackend
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.vm import CreateSpec
from vmapi.settings.memory import parse_latency


class TestMemory(BackendSuite):
    """Every action completes before its response."""

    latency = "0"
    has_breaker = False

    @pytest.fixture
    def cloud(self) -> Iterator[CloudUnderTest]:
        clock, is_slow = Clock(), self.latency != "0"
        backend = MemoryBackend(latency=parse_latency(self.latency), clock=clock, sleep=clock.sleep)

        def inject_fault(spec: CreateSpec, fault: str) -> CreateSpec:
            backend.set_faults(f"{fault}=1")
            return spec

        cloud = CloudUnderTest(
            CircuitBreakerBackend(backend) if self.has_breaker else backend,
            "mem",
            clock.sleep,
            slow_actions=is_slow,
            slow_build=(lambda spec: spec) if is_slow else None,
            failing_build=partial(inject_fault, fault="build_failed"),
            no_host_build=partial(inject_fault, fault="no_capacity"),
        )
        with cloud.deleting_created_vms():
            yield cloud


class TestSlowMemory(TestMemory):
    """Every action takes time, so that a read sees its task."""

    latency = "create=2,update=0,*=0.5"


class TestMemoryBehindBreaker(TestMemory):
    """The breaker changes nothing while the cloud responds."""

    has_breaker = True
