"""The Python client on a cloud that fails, through a proxy that loses and repeats requests."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from tests.support.http_client import WAIT_SECONDS
from tests.support.processes import Gunicorn
from tests.support.unreliable_proxy import (
    DISRUPTIONS,
    UnreliableHandler,
    run_unreliable_proxy,
)
from vmapi_client import VM, AsyncClient, Client
from vmapi_client.errors import BuildFailed, CloudFailed, NoCapacity, VMFailed
from vmapi_client.models import Action

pytestmark = pytest.mark.disruption

FAULTS = "unavailable=4%,slow=4%:0.05,lost_answer=8%"
MAX_BULK_ACTIONS = 2 * len(DISRUPTIONS)
IMAGE = {"flavor": "m1.tiny", "image": "cirros"}


def live_through(client: Client, name: str) -> VM:
    """Take a VM through its life with waiting changes."""
    vms = client.vms
    vm = vms.create(name, **IMAGE, start=True, metadata={"run": "1"}, wait=True)
    vms.pause(vm, wait=True)
    vms.resume(vm, wait=True)
    vms.restart(vm, wait=True)
    updated = vms.update(vm, metadata={"run": None, "owner": name}, wait=True)
    stopped = vms.stop(vm, wait=True)
    assert (updated.metadata, stopped.status) == ({"owner": name}, "STOPPED")
    vms.delete(vm, wait=True)
    return vm


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    """A server on a cloud that refuses calls, is slow, and loses answers."""
    folder = tmp_path_factory.mktemp("faults")
    server = Gunicorn(folder, VMAPI_MEMORY_FAULTS=FAULTS, VMAPI_MEMORY_LATENCY="0.02")
    server.start()
    try:
        server.wait_for("/readyz")
        yield server
    finally:
        server.stop()


def test_each_change_is_made_once_whatever_is_lost(server: Gunicorn) -> None:
    names = [f"web-{number}" for number in range(2)]
    with (
        run_unreliable_proxy(server.port) as (url, proxy),
        Client(url, timeout=60) as client,
        ThreadPoolExecutor(2) as pool,
    ):
        vms = list(pool.map(lambda name: live_through(client, name), names))
        assert set(proxy.counts) == {"", *DISRUPTIONS}
    with Client(f"http://127.0.0.1:{server.port}") as direct:
        assert list(direct.vms.list()) == []
        deleted = direct.vms.list(name="web-*", status="DELETED")
        assert {vm.id: vm.name for vm in deleted} == {vm.id: vm.name for vm in vms}
        operations = direct.operations.list(status="succeeded", page_size=10)
        actions = [operation.action for operation in operations]
    for action in ("create", "pause", "resume", "restart", "stop"):
        assert actions.count(action) == len(names), action


def test_each_bulk_action_is_made_once_whatever_is_lost(cloud: Gunicorn) -> None:
    # a cloud without faults: after a failed stop, the next start would be refused
    with (
        Client(f"http://127.0.0.1:{cloud.port}", timeout=60) as direct,
        run_unreliable_proxy(cloud.port) as (url, proxy),
        Client(url, timeout=60) as client,
    ):
        vms = [
            direct.vms.create(f"bulk-{number}", **IMAGE, metadata={"run": "bulk"}, wait=True)
            for number in range(3)
        ]
        actions: list[Action] = []
        while set(proxy.counts) != {"", *DISRUPTIONS} and len(actions) < MAX_BULK_ACTIONS:
            action: Action = "stop" if len(actions) % 2 else "start"
            actions.append(action)
            bulk = client.vms.bulk(action, filter={"selector": "run=bulk"})
            operation = client.operations.wait(bulk.operation_id)
            assert operation.bulk is not None
            assert len(operation.bulk.items) == len(vms), operation
            assert all(item.operation_id for item in operation.bulk.items), operation
        assert set(proxy.counts) == {"", *DISRUPTIONS}
        for vm in vms:
            operations = direct.operations.list(vm_id=vm.id, page_size=100)
            recorded = [operation.action for operation in operations]
            assert recorded[::-1] == ["create", *actions]
        direct.vms.bulk("delete", filter={"selector": "run=bulk"}, wait=True)


def test_create_with_a_stalled_response_is_made_once(
    server: Gunicorn, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str | None] = []
    is_over = Event()

    class StallingHandler(UnreliableHandler):
        def do_POST(self) -> None:
            keys.append(self.headers["Idempotency-Key"])
            response = self.forward(self.read_body())
            if len(keys) == 1:
                is_over.wait(WAIT_SECONDS)
            self.send_back(response, truncate=False)

    monkeypatch.setattr("vmapi_client.core.repeats.ATTEMPT_TIMEOUT_SECONDS", 2.0)
    with (
        run_unreliable_proxy(server.port, StallingHandler) as (url, _),
        Client(url, timeout=60) as client,
    ):
        vm = client.vms.create("stalled-1", **IMAGE)
        is_over.set()
    assert len(keys) > 1
    assert len(set(keys)) == 1
    with Client(f"http://127.0.0.1:{server.port}") as direct:
        assert [found.id for found in direct.vms.list(name="stalled-*")] == [vm.id]
        direct.vms.wait_for(vm, "STOPPED", timeout=60)
        direct.vms.delete(vm, wait=True)


def test_coroutines_make_each_change_once(server: Gunicorn) -> None:
    async def live(client: AsyncClient, name: str) -> str:
        vm = await client.vms.create(name, **IMAGE, start=True)
        vm = await client.vms.wait_for(vm, "RUNNING")
        await client.vms.stop(vm)
        await client.vms.wait_for(vm, "STOPPED")
        await client.vms.delete(vm)
        await client.vms.wait_until_deleted(vm)
        return vm.id

    async def run(url: str) -> None:
        async with AsyncClient(url, timeout=60) as client:
            ids = await asyncio.gather(*(live(client, f"async-{number}") for number in range(2)))
            deleted = [
                vm.id async for vm in client.vms.list(name="async-*", status="DELETED", page_size=1)
            ]
            assert sorted(deleted) == sorted(ids)

    with run_unreliable_proxy(server.port) as (url, _):
        asyncio.run(run(url))


def test_failures_of_the_cloud_raise_and_name_the_vm(gunicorn: Callable[..., Gunicorn]) -> None:
    faults = "no_capacity=1,build_failed=1,action_failed=1"
    server = gunicorn(VMAPI_MEMORY_FAULTS=faults, VMAPI_MEMORY_LATENCY="0.05").start()
    server.wait_for("/readyz")
    with Client(f"http://127.0.0.1:{server.port}", timeout=30) as client:
        with pytest.raises((NoCapacity, BuildFailed), match="delete") as caught:
            client.vms.create("web-1", **IMAGE, wait=True)
        client.vms.delete(caught.value.vm_id or "", wait=True)
        accepted = client.vms.create("web-1", **IMAGE)
        with pytest.raises(VMFailed, match="is in ERROR") as failed:
            client.vms.wait_for(accepted, "STOPPED")
        client.vms.delete(failed.value.vm, wait=True)
        vm = client.vms.create("web-1", **IMAGE, start=True, wait=True)
        with pytest.raises(CloudFailed) as refused:
            client.vms.stop(vm, wait=True)
        assert refused.value.operation is not None
        assert client.vms.stop(vm, wait=True).status == "STOPPED"
