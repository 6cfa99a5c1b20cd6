"""Changes on the in-memory cloud: the work does not grow with the number of VMs.

Counted are the instructions of SQLite's virtual machine, and the VMs that the cloud copies.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import Engine, event

from bench.apps import build_app
from bench.targets import ALL_CHANGES, AppTarget
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.backends.memory.instance import Instance
from vmapi.domain.vm import VM, CreateSpec
from vmapi.settings.memory import MemoryLimits

FEW, MANY = 10, 1000
ROUNDS = 3


@dataclass(order=True)
class Work:
    """The work since the last reset."""

    instructions: int = 0
    vm_copies: int = 0


@contextmanager
def counting_instructions(work: Work) -> Iterator[None]:
    """Count the instructions of this thread, on connections that are opened in the block."""
    thread_id = threading.get_ident()

    def count() -> None:
        # the heartbeat renews leases in another thread
        if threading.get_ident() == thread_id:
            work.instructions += 1

    def on_connect(connection: Any, _: Any) -> None:
        connection.set_progress_handler(count, 1)

    event.listen(Engine, "connect", on_connect)
    try:
        yield
    finally:
        event.remove(Engine, "connect", on_connect)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    work, to_vm = Work(), Instance.to_vm

    def count_copy(instance: Instance) -> VM:
        work.vm_copies += 1
        return to_vm(instance)

    monkeypatch.setattr(Instance, "to_vm", count_copy)
    with counting_instructions(work):
        yield work


def build_cloud(vms: int) -> MemoryBackend:
    """Return a cloud with a number of VMs."""
    backend = MemoryBackend(limits=MemoryLimits(vms=10_000, vcpus=10_000, ram_mb=10_000_000))
    flavor, image = backend.list_flavors()[0], backend.list_images()[0]
    for number in range(vms):
        spec = CreateSpec(f"old-{number}", flavor.id, image.id, None, {}, None, None, ())
        backend.create_vm(spec, f"operation-{number}")
    return backend


def measure(vms: int, work: Work) -> dict[str, Work]:
    """Return the least work of each change in a cloud with a number of VMs.

    The first statement on a new connection reads the schema.
    """
    by_change: dict[str, Work] = {}
    with build_app(build_cloud(vms), None, backend="memory") as app:
        target = AppTarget("growth", app, keyed=True)
        # the first read saves the VMs that exist
        app.test_client().get("/api/v1/vms")
        for _ in range(ROUNDS):
            for change in ALL_CHANGES:
                send = target.prepare(change)
                work.instructions = work.vm_copies = 0
                send()
                done = replace(work)
                by_change[change] = min(by_change.get(change, done), done)
    return by_change


def test_change_costs_the_same_with_many_vms(work: Work) -> None:
    few, many = measure(FEW, work), measure(MANY, work)
    assert few.keys() == set(ALL_CHANGES)
    for change, counts in few.items():
        assert counts.instructions > FEW
        assert 0 < counts.vm_copies <= 3
        assert many[change].vm_copies == counts.vm_copies
        # the depth of an index may differ by a page
        assert abs(many[change].instructions - counts.instructions) < FEW * 5, change
