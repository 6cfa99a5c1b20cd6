"""GET /quota, and creates for which there is no room."""

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
def world(world: ApiHarness) -> Iterator[ApiHarness]:
    """A world whose callers are of the default project, unless they act for another."""
    with as_project(world, "default"):
        yield world


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, quotas=parse_quotas("default:vms=3,vcpus=4,ram_mb=8192; *:vms=1"))


def test_quota_shows_usage_and_limits(world: ApiHarness) -> None:
    assert world.get_json("/quota") == {
        "vms": {"used": 0, "limit": 3},
        "vcpus": {"used": 0, "limit": 4},
        "ram_mb": {"used": 0, "limit": 8192},
    }
    world.create_running("web-1", flavor="m1.medium")
    world.create("web-2", flavor="m1.small")
    assert {kind: share["used"] for kind, share in world.get_json("/quota").items()} == {
        "vms": 2,
        "vcpus": 3,
        "ram_mb": 6144,
    }
    with as_project(world, "other"):
        assert world.get_json("/quota") == {
            "vms": {"used": 0, "limit": 1},
            "vcpus": {"used": 0, "limit": None},
            "ram_mb": {"used": 0, "limit": None},
        }
    answer = world.call("GET", "/quota")
    assert answer.headers["Age"] == "0"


def test_create_over_quota_is_refused(world: ApiHarness) -> None:
    world.create_running("web-1", flavor="m1.medium")
    answer = world.post("/vms", {**CREATE_BODY, "name": "web-2", "flavor": "m1.large"})
    assert (answer.status_code, answer.json["code"]) == (403, "quota_exceeded")
    assert answer.json["detail"] == (
        "Project default may have 4 vCPUs, 2 are used and 4 asked for; "
        "8192 MB of RAM, 4096 are used and 8192 asked for."
    )
    assert world.get_json("/operations")["total"] == 1
    assert len(world.backend.list_vms()) == 1
    with as_project(world, "other"):
        world.create("web-2", flavor="m1.large")


def test_delete_frees_quota_at_once(world: ApiHarness) -> None:
    with as_project(world, "other"):
        first = world.create_running("web-1")
        refused = world.post("/vms", {**CREATE_BODY, "name": "web-2"})
        assert (refused.status_code, refused.json["code"]) == (403, "quota_exceeded")
        assert world.call("DELETE", f"/vms/{first}").status_code == 204
        world.create("web-2")


def test_refused_create_releases_idempotency_key(world: ApiHarness) -> None:
    def create() -> tuple[int, bool]:
        body = {**CREATE_BODY, "name": "web-2"}
        answer = world.call("POST", "/vms", json=body, headers={"Idempotency-Key": "k"})
        return answer.status_code, "Idempotent-Replayed" in answer.headers

    with as_project(world, "other"):
        first = world.create_running("web-1")
        assert create() == create() == (403, False)
        world.call("DELETE", f"/vms/{first}")
        assert create() == (201, False)
        # full again, but this was made before
        assert create() == (201, True)


def test_external_vms_count_before_first_sync(world: ApiHarness) -> None:
    for _ in range(3):
        world.backend.create_vm(SPEC, "somebody else's")
    answer = world.post("/vms", CREATE_BODY)
    assert (answer.status_code, answer.json["code"]) == (403, "quota_exceeded")
    assert answer.json["detail"] == (
        "Project default may have 3 VMs, 3 are used and 1 asked for; "
        "4 vCPUs, 12 are used and 1 asked for; 8192 MB of RAM, 24576 are used and 512 asked for."
    )


@pytest.mark.parametrize("limits", ["vms=1"])
def test_quota_of_the_cloud_is_reported(world: ApiHarness) -> None:
    world.create("web-1")
    answer = world.post("/vms", {**CREATE_BODY, "name": "web-2"})
    assert (answer.status_code, answer.json["code"]) == (403, "quota_exceeded")
    assert answer.json["detail"].startswith("Quota exceeded for instances")
