"""The memory cloud as a remote cloud, and the age of its inventory."""

import time
from typing import Any

from sqlalchemy import text
from werkzeug.test import TestResponse

from tests.support.api_harness import ApiHarness
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.vm import VM
from vmapi.services.inventory.observer import CloudObserver
from vmapi.services.inventory.sync import InventorySync
from vmapi.services.vms.duplicates import DuplicateCleaner

RESPONSE_TIMEOUT = 30.0
NO_CACHE = {"Cache-Control": "no-cache"}


class RemoteBackend(MemoryBackend):
    """The memory cloud as a remote cloud; `calls` records the reads."""

    completes_immediately = False
    has_change_feed = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.may_wait = True
        self.calls: list[str] = []

    def get_vm(self, vm_id: str) -> VM:
        self.calls.append("get")
        return super().get_vm(vm_id)

    def list_vms(self, *, name: str | None = None) -> Any:
        self.calls.append("vms")
        return super().list_vms(name=name)


def sync_inventory(harness: ApiHarness) -> None:
    """Run the poll and the full sync of one minute."""
    store, cloud = harness.services.store, harness.backend
    tidy = DuplicateCleaner(
        store,
        harness.services.vms,
        clock=harness.clock,
        cloud_clock=cloud.cloud_time,
        response_timeout=RESPONSE_TIMEOUT,
    ).delete_duplicates
    observer = CloudObserver(cloud, store, harness.clock)
    sync = InventorySync(
        observer, store, on_full_sync=tidy, clock=cloud.cloud_time, monotonic=time.monotonic
    )
    sync.full_sync_if_due()
    sync.poll_changes()


def take_calls(harness: ApiHarness) -> list[str]:
    """Return the recorded calls and clear the record."""
    assert isinstance(harness.backend, RemoteBackend)
    calls = list(harness.backend.calls)
    harness.backend.calls.clear()
    return calls


def age_inventory(harness: ApiHarness, seconds: int) -> None:
    """Make every observation older by a number of seconds."""
    age = f"{seconds}000000"
    with harness.services.store.database.write() as connection:
        connection.execute(
            text(f"UPDATE vms SET observation_started_at = observation_started_at - {age}")
        )
        connection.execute(text(f"UPDATE sync_state SET started_at = started_at - {age}"))
    # no event has announced the change: drop the cached VMs
    harness.services.store.inventory.close()


def only_vm_id(harness: ApiHarness) -> str:
    (vm,) = harness.get_json("/vms")["items"]
    return str(vm["id"])


def read_paths(vm_id: str) -> list[str]:
    return ["/vms", f"/vms/{vm_id}", f"/vms/{vm_id}/status"]


def response_age(response: TestResponse) -> int:
    assert response.status_code == 200, response.text
    return int(response.headers["Age"])
