"""The Python client on a cloud that fails, through a proxy that loses and repeats requests."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.processes import Gunicorn
from tests.support.unreliable_proxy import DISRUPTIONS, run_unreliable_proxy
from vmapi_client import VM, AsyncClient, Client
from vmapi_client.errors import BuildFailed, CloudFailed, NoCapacity

FAULTS = "unavailable=4%,slow=4%:0.05,lost_answer=8%"
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


def test_each_change_is_made_once_whatever_is_lost(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn(VMAPI_MEMORY_FAULTS=FAULTS, VMAPI_MEMORY_LATENCY="0.02").start()
    server.wait_for("/readyz")
    names = [f"web-{number}" for number in range(3)]
    with (
        run_unreliable_proxy(server.port) as (url, proxy),
        Client(url, timeout=60) as client,
        ThreadPoolExecutor(3) as pool,
    ):
        vms = list(pool.map(lambda name: live_through(client, name), names))
        assert set(proxy.counts) == {"", *DISRUPTIONS}
    with Client(f"http://127.0.0.1:{server.port}") as direct:
        assert list(direct.vms.list()) == []
        deleted = direct.vms.list(status="DELETED")
        assert {vm.id: vm.name for vm in deleted} == {vm.id: vm.name for vm in vms}
        operations = direct.operations.list(status="succeeded", page_size=10)
        actions = [operation.action for operation in operations]
    for action in ("create", "pause", "resume", "restart", "stop"):
        assert actions.count(action) == len(names), action


def test_coroutines_make_each_change_once(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn(VMAPI_MEMORY_FAULTS=FAULTS, VMAPI_MEMORY_LATENCY="0.02").start()
    server.wait_for("/readyz")

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
            ids = await asyncio.gather(*(live(client, f"web-{number}") for number in range(3)))
            deleted = [vm.id async for vm in client.vms.list(status="DELETED", page_size=1)]
            assert sorted(deleted) == sorted(ids)

    with run_unreliable_proxy(server.port) as (url, _):
        asyncio.run(run(url))


@pytest.mark.parametrize(
    ("fault", "error"), [("no_capacity", NoCapacity), ("build_failed", BuildFailed)]
)
def test_failed_build_raises_and_names_the_vm_to_delete(
    gunicorn: Callable[..., Gunicorn], fault: str, error: type[Exception]
) -> None:
    server = gunicorn(VMAPI_MEMORY_FAULTS=f"{fault}=2", VMAPI_MEMORY_LATENCY="0.05").start()
    server.wait_for("/readyz")
    with Client(f"http://127.0.0.1:{server.port}", timeout=30) as client:
        with pytest.raises(error, match="delete") as caught:
            client.vms.create("web-1", **IMAGE, wait=True)
        vm_id = getattr(caught.value, "vm_id")  # noqa: B009 - the class is a parameter
        client.vms.delete(vm_id, wait=True)
        accepted = client.vms.create("web-2", **IMAGE)
        with pytest.raises(Exception, match="is in ERROR"):
            client.vms.wait_for(accepted, "STOPPED")


def test_failed_action_raises_once_and_leaves_the_vm(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn(VMAPI_MEMORY_FAULTS="action_failed=1").start()
    server.wait_for("/readyz")
    with Client(f"http://127.0.0.1:{server.port}", timeout=30) as client:
        vm = client.vms.create("web-1", **IMAGE, start=True, wait=True)
        with pytest.raises(CloudFailed) as caught:
            client.vms.stop(vm, wait=True)
        assert caught.value.operation is not None
        assert client.vms.stop(vm, wait=True).status == "STOPPED"
