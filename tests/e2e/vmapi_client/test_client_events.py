"""Event streams of the Python client on a server, with interruptions."""

import asyncio
from collections.abc import Iterator
from itertools import islice

import pytest

from tests.support.database_proxy import DatabaseProxy
from tests.support.processes import Gunicorn
from vmapi_client import AsyncClient, Client, Event

IMAGE = {"flavor": "m1.tiny", "image": "cirros"}


@pytest.fixture
def proxy(cloud: Gunicorn) -> Iterator[DatabaseProxy]:
    """A TCP proxy in front of the shared cloud."""
    proxy = DatabaseProxy("127.0.0.1", cloud.port)
    yield proxy
    proxy.close()


@pytest.fixture
def direct(cloud: Gunicorn) -> Iterator[Client]:
    """A client without the proxy."""
    with Client(f"http://127.0.0.1:{cloud.port}", timeout=30) as client:
        yield client


def cut(proxy: DatabaseProxy) -> None:
    """Close all connections of a proxy once."""
    proxy.shut()
    proxy.open()


def test_stream_continues_after_each_cut_without_loss_or_repetition(
    proxy: DatabaseProxy, direct: Client
) -> None:
    vm = direct.vms.create("events-1", **IMAGE, wait=True)
    position = direct.newest_event_id()
    with Client(f"http://127.0.0.1:{proxy.port}", timeout=30) as client:
        events = client.events(since=position, vm_ids=vm.id)
        direct.vms.start(vm, wait=True)
        received = [next(events)]
        cut(proxy)
        direct.vms.stop(vm, wait=True)
        received += islice(events, 3)
        cut(proxy)
        direct.vms.delete(vm, wait=True)
        for event in events:
            received.append(event)
            if event.kind == "operation.succeeded" and is_delete(event):
                break
    expected = list(islice(direct.events(since=position, vm_ids=vm.id), len(received)))
    assert [event.id for event in received] == [event.id for event in expected]
    assert received == expected


def is_delete(event: Event) -> bool:
    return event.operation is not None and event.operation.action == "delete"


def test_coroutine_stream_continues_after_a_cut(proxy: DatabaseProxy, direct: Client) -> None:
    async def follow() -> list[str]:
        async with AsyncClient(f"http://127.0.0.1:{proxy.port}", timeout=30) as client:
            position = await client.newest_event_id()
            cut(proxy)
            vm = await client.vms.create("events-2", **IMAGE)
            kinds = []
            async for event in client.events(since=position, vm_ids=vm.id):
                kinds.append(event.kind)
                if event.kind == "operation.succeeded":
                    break
                cut(proxy)
            await client.vms.delete(vm, wait=True)
            return kinds

    # the position of an empty log is that of no event: a stream from there begins with a reset
    direct.vms.delete(direct.vms.create("events-0", **IMAGE, wait=True), wait=True)
    kinds = asyncio.run(follow())
    assert kinds[0] == "vm.created"
    assert kinds[-1] == "operation.succeeded"
