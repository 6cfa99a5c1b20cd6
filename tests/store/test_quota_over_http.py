"""Quota test over HTTP: concurrent creates never exceed a quota."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.fake_clock import Clock
from tests.support.operation_factory import run_concurrently, succeeds
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.bootstrap import bootstrap
from vmapi.domain.access.caller import Caller
from vmapi.domain.lifecycle import Action
from vmapi.domain.vm import CreateRequest
from vmapi.errors import QuotaExceeded
from vmapi.services.container import Services
from vmapi.settings.limits import parse_quotas
from vmapi.settings.settings import Settings

WEB = Caller("me", "r", project="web")


@pytest.fixture
def cloud(clock: Clock) -> MemoryBackend:
    return MemoryBackend(clock=clock, sleep=clock.sleep)


@pytest.fixture
def processes(url: str, cloud: MemoryBackend, clock: Clock) -> Iterator[list[Services]]:
    """Two that serve from one database."""
    settings = Settings(database_url=url, threads=50, quotas=parse_quotas("web:vms=10"))
    processes = [bootstrap(settings, cloud, clock) for _ in range(2)]
    yield processes
    for services in processes:
        services.engine.stop()
        services.store.close()


def test_quota_admits_ten_of_fifty_concurrent_creates(
    processes: list[Services], cloud: MemoryBackend
) -> None:
    def create(number: int) -> bool:
        request = CreateRequest(f"web-{number}", "m1.tiny", "cirros", start=True)
        vms = processes[number % 2].vms
        return succeeds(lambda: vms.create(request, WEB), QuotaExceeded)

    assert run_concurrently(50, create) == 10
    assert len(cloud.list_vms()) == 10
    quota, _ = processes[0].quotas.get("web")
    assert quota.used.vms == 10
    vms = processes[1].vms
    first = cloud.list_vms()[0].id
    vms.perform_action(first, Action.DELETE, WEB)
    assert create(50)
    assert not create(51)
    other = replace(WEB, project="other")
    assert vms.create(CreateRequest("web-1", "m1.tiny", "cirros"), other).snapshot is not None
