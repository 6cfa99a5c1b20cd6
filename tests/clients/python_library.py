"""The life of a VM through the installed Python library.

The test runs this script in an environment without the repository, and checks its types.
"""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, closing

from vmapi_client import VM, AsyncClient, Client, Event, Operation, errors, models


def live(client: Client) -> VM:
    """Take a VM through its life."""
    vm: VM = client.vms.create(
        "library-1", flavor="m1.tiny", image="cirros", start=True, metadata={"a": "b"}, wait=True
    )
    ip_address: str | None = vm.ip_address
    assert ip_address is not None
    paused = client.vms.pause(vm, wait=True)
    try:
        client.vms.restart(paused, type="soft")
    except errors.InvalidState as error:
        actions: tuple[str, ...] = error.allowed_actions
        assert "resume" in actions
    vms: Iterator[VM] = client.vms.find("library-*")
    assert [item.id for item in vms] == [vm.id]
    vm = client.vms.update(client.vms.get(vm), name="library-2", if_unchanged=True, wait=True)
    counts: models.BulkCounts = client.vms.bulk("stop", [vm], wait=True).counts
    assert counts.succeeded == 1
    return client.vms.wait_for(vm, "STOPPED", timeout=10)


async def finish(vm: VM) -> None:
    """Delete a VM with coroutines, and read its events."""
    async with AsyncClient() as client:
        position: str = await client.newest_event_id()
        await client.vms.delete(vm, wait=True)
        event: Event
        async with aclosing(client.events(since=position, kinds="operation.succeeded")) as events:
            async for event in events:
                operation: Operation | None = event.operation
                assert operation is not None
                assert operation.action == "delete"
                break


def read_changes(client: Client, position: str) -> list[str]:
    """Return the statuses of a VM until it is stopped."""
    statuses = []
    with closing(client.events(since=position, kinds=["vm.changed"], seconds=10)) as events:
        for event in events:
            assert event.vm is not None
            statuses.append(event.vm.status)
            if statuses[-1] == "STOPPED":
                break
    return statuses


if __name__ == "__main__":
    with Client() as library:
        start = library.newest_event_id()
        stopped = live(library)
        assert read_changes(library, start)[-1] == "STOPPED"
    asyncio.run(finish(stopped))
