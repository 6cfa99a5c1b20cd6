"""GET /quota, and creates over the quota."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.api_harness import CREATE_BODY, ApiHarness
from tests.support.project_callers import as_project
from vmapi.backends.memory.catalog import IMAGES, stable_id
from vmapi.domain.vm import CreateSpec
from vmapi.settings.limits import parse_quotas
from vmapi.settings.settings import Settings

LARGE = stable_id("m1.large")
SPEC = CreateSpec("made-outside", LARGE, min(IMAGES), None, {}, None, None, ())


@pytest.fixture
def harness(harness: ApiHarness) -> Iterator[ApiHarness]:
    """A harness with callers of the default project."""
    with as_project(harness, "default"):
        yield harness


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, quotas=parse_quotas("default:vms=3,vcpus=4,ram_mb=8192; *:vms=1"))


def test_quota_shows_usage_and_limits(harness: ApiHarness) -> None:
    assert harness.get_json("/quota") == {
        "vms": {"used": 0, "limit": 3, "limited_by": "project"},
        "vcpus": {"used": 0, "limit": 4, "limited_by": "project"},
        "ram_mb": {"used": 0, "limit": 8192, "limited_by": "project"},
    }
    harness.create_running("web-1", flavor="m1.medium")
    harness.create("web-2", flavor="m1.small")
    assert {kind: share["used"] for kind, share in harness.get_json("/quota").items()} == {
        "vms": 2,
        "vcpus": 3,
        "ram_mb": 6144,
    }
    with as_project(harness, "other"):
        assert harness.get_json("/quota") == {
            "vms": {"used": 0, "limit": 1, "limited_by": "project"},
            "vcpus": {"used": 0, "limit": 200, "limited_by": "cloud"},
            "ram_mb": {"used": 0, "limit": 409_600, "limited_by": "cloud"},
        }
    response = harness.call("GET", "/quota")
    assert int(response.headers["Age"]) < 10


def test_create_over_quota_is_refused(harness: ApiHarness) -> None:
    harness.create_running("web-1", flavor="m1.medium")
    response = harness.post("/vms", {**CREATE_BODY, "name": "web-2", "flavor": "m1.large"})
    assert (response.status_code, response.json["code"]) == (403, "quota_exceeded")
    assert response.json["detail"] == (
        "Project default may have 4 vCPUs, 2 are used and 4 asked for; "
        "8192 MB of RAM, 4096 are used and 8192 asked for."
    )
    assert harness.get_json("/operations")["total"] == 1
    assert len(harness.backend.list_vms()) == 1
    with as_project(harness, "other"):
        harness.create("web-2", flavor="m1.large")


def test_delete_frees_quota_at_once(harness: ApiHarness) -> None:
    with as_project(harness, "other"):
        first = harness.create_running("web-1")
        refused = harness.post("/vms", {**CREATE_BODY, "name": "web-2"})
        assert (refused.status_code, refused.json["code"]) == (403, "quota_exceeded")
        assert harness.call("DELETE", f"/vms/{first}").status_code == 204
        harness.create("web-2")


def test_refused_create_releases_idempotency_key(harness: ApiHarness) -> None:
    def create() -> tuple[int, bool]:
        body = {**CREATE_BODY, "name": "web-2"}
        response = harness.call("POST", "/vms", json=body, headers={"Idempotency-Key": "k"})
        return response.status_code, "Idempotent-Replayed" in response.headers

    with as_project(harness, "other"):
        first = harness.create_running("web-1")
        assert create() == create() == (403, False)
        harness.call("DELETE", f"/vms/{first}")
        assert create() == (201, False)
        # the quota is used up again, but this request is a replay
        assert create() == (201, True)


def test_external_vms_count_before_first_sync(harness: ApiHarness) -> None:
    for _ in range(3):
        harness.backend.create_vm(SPEC, "another-operation")
    response = harness.post("/vms", CREATE_BODY)
    assert (response.status_code, response.json["code"]) == (403, "quota_exceeded")
    assert response.json["detail"] == (
        "Project default may have 3 VMs, 3 are used and 1 asked for; "
        "4 vCPUs, 12 are used and 1 asked for; 8192 MB of RAM, 24576 are used and 512 asked for."
    )


@pytest.mark.parametrize("limits", ["vms=1"])
def test_quota_of_the_cloud_is_reported(harness: ApiHarness) -> None:
    harness.create("web-1")
    response = harness.post("/vms", {**CREATE_BODY, "name": "web-2"})
    assert (response.status_code, response.json["code"]) == (403, "quota_exceeded")
    assert response.json["detail"].startswith("Quota exceeded for instances")
