"""A new VM on a remote cloud: its name and its list entry, without a poll."""

from datetime import datetime, timedelta

import pytest

from tests.support.api_harness import CREATE_BODY, ApiHarness
from tests.support.fake_clock import Clock
from tests.support.remote_cloud import RemoteBackend, age_inventory, sync_inventory, take_calls
from vmapi.backends.memory.catalog import FLAVORS, IMAGES
from vmapi.domain.vm import CreateSpec, VMPatch

OUTSIDE = CreateSpec("web-1", min(FLAVORS), min(IMAGES), None, {}, None, None, ())


class LaggingCloud(RemoteBackend):
    """A remote cloud with a clock behind that of vmapi."""

    def cloud_time(self) -> datetime:
        """Return the time of the cloud."""
        return super().cloud_time() - timedelta(seconds=5)


@pytest.fixture
def backend(clock: Clock) -> LaggingCloud:
    return LaggingCloud(clock=clock, sleep=clock.sleep)


def test_new_vm_is_listed_at_once(harness: ApiHarness) -> None:
    sync_inventory(harness)
    take_calls(harness)
    harness.clock.sleep(0.7)
    created = harness.create()
    assert take_calls(harness) == []
    assert (created["status"], created["task"]) == ("BUILDING", "creating")
    assert created["created_at"] == "2026-02-25T10:29:55Z"
    assert harness.get_json("/vms")["items"] == [created]
    harness.run_until_settled()
    (settled,) = harness.get_json("/vms")["items"]
    assert (settled["id"], settled["created_at"]) == (created["id"], created["created_at"])


def test_name_of_external_vm_in_inventory_is_refused(harness: ApiHarness) -> None:
    outside = harness.backend.create_vm(OUTSIDE, "another-operation").vm_id
    sync_inventory(harness)
    take_calls(harness)
    response = harness.post("/vms", CREATE_BODY)
    assert (response.status_code, response.json["code"]) == (409, "name_taken")
    assert response.json["vm_id"] == outside
    assert take_calls(harness) == ["vms"]


def test_name_released_externally_is_accepted(harness: ApiHarness) -> None:
    outside = harness.backend.create_vm(OUTSIDE, "another-operation").vm_id
    sync_inventory(harness)
    harness.backend.update_vm(outside, VMPatch(name="web-2"))
    take_calls(harness)
    assert harness.create("web-1")["id"] != outside
    assert take_calls(harness) == ["vms"]


def test_stale_inventory_is_not_used_for_names(harness: ApiHarness) -> None:
    sync_inventory(harness)
    age_inventory(harness, 6)
    outside = harness.backend.create_vm(OUTSIDE, "another-operation").vm_id
    take_calls(harness)
    response = harness.post("/vms", CREATE_BODY)
    assert (response.status_code, response.json["vm_id"]) == (409, outside)
    assert take_calls(harness) == ["vms"]
