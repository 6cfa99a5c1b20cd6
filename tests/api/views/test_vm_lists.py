"""Lists: filters, order, pages."""

import pytest

from tests.support.api_harness import ApiHarness

NAMES = ["a-web", "web-1", "web-2", "web-10", "Web-3"]


@pytest.fixture
def five_vms(harness: ApiHarness) -> ApiHarness:
    """Five VMs, created one minute apart: RUNNING, STOPPED, PAUSED, ERROR, RUNNING."""
    ids = []
    for name in NAMES:
        if name == "web-10":
            harness.backend.set_faults("build_failed=1")
        flavor = "m1.small" if name == "a-web" else "m1.tiny"
        image = "debian-12" if name == "web-2" else "cirros"
        ids.append(harness.create_running(name, flavor=flavor, image=image))
        harness.clock.sleep(60)
    harness.post_action(ids[1], "stop")
    harness.post_action(ids[2], "pause")
    return harness


def list_names(harness: ApiHarness, query: str, path: str = "/vms") -> list[str]:
    names: list[str] = [vm["name"] for vm in harness.get_json(f"{path}?{query}")["items"]]
    return names


@pytest.mark.parametrize(
    ("query", "digits"),
    [
        ("", "43210"),
        ("status=RUNNING", "40"),
        ("status=STOPPED&status=ERROR", "31"),
        ("status=PAUSED&status=PAUSED", "2"),
        ("status=BUILDING", ""),
        ("name=web-1", "1"),
        ("name=web", ""),
        ("name=web*", "321"),
        ("name=Web*", "4"),
        ("name=web-1*", "31"),
        ("name=*", "43210"),
        ("name=web-%25", ""),
        ("name=web-_", ""),
        ("flavor=m1.small", "0"),
        ("flavor=m1", ""),
        ("image=debian-12", "2"),
        ("created_after=2026-02-25T10:31:00Z", "432"),
        ("created_before=2026-02-25T10:31:00Z", "0"),
        ("created_before=2026-02-25T11:31:00%2B01:00", "0"),
        ("created_before=2026-02-25T11:31:00+01:00", "0"),
        ("created_after=2026-02-25T10:30:00Z&created_before=2026-02-25T10:33:00Z", "21"),
        ("updated_after=2026-02-25T10:34:00Z", "21"),
        ("status=RUNNING&name=web*", ""),
        ("created_after=2026-02-25T10:32:00Z&created_before=2026-02-25T10:32:00Z", ""),
        ("created_after=2026-02-25T10:34:00Z&created_before=2026-02-25T10:30:00Z", ""),
        ("updated_after=9999-12-31T23:59:59Z", ""),
        ("sort=created_at", "01234"),
        ("sort=-created_at", "43210"),
        ("sort=name", "40132"),
        ("sort=-name", "23104"),
        ("sort=updated_at&status=RUNNING&status=ERROR", "034"),
        ("sort=-updated_at&status=RUNNING&status=ERROR", "430"),
    ],
)
def test_filters_and_sort_order(five_vms: ApiHarness, query: str, digits: str) -> None:
    assert list_names(five_vms, query) == [NAMES[int(digit)] for digit in digits]
    assert five_vms.get_json(f"/vms?{query}")["total"] == len(digits)


def test_list_has_page_members(harness: ApiHarness) -> None:
    assert harness.get_json("/vms") == {
        "items": [],
        "total": 0,
        "page": 1,
        "page_size": 50,
        "next": None,
    }


def test_page_beyond_the_end_is_empty(five_vms: ApiHarness) -> None:
    body = five_vms.get_json("/vms?page=9&page_size=2")
    assert (body["items"], body["total"], body["next"]) == ([], 5, None)


@pytest.mark.parametrize("path", ["/vms", "/operations"])
@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("page=10001", "/page"),
        ("page=0", "/page"),
        ("page_size=0", "/page_size"),
        ("page_size=1001", "/page_size"),
        ("page=11&page_size=1000", "/page"),
        ("page=201", "/page"),
        ("page=one", "/page"),
    ],
)
def test_page_size_and_offset_are_limited(
    harness: ApiHarness, path: str, query: str, pointer: str
) -> None:
    response = harness.call("GET", f"{path}?{query}")
    assert (response.status_code, response.json["code"]) == (422, "validation_error")
    assert [error["pointer"] for error in response.json["errors"]] == [pointer]
    if pointer == "/page" and query not in ("page=0", "page=one"):
        assert "at most 10000. Follow next" in response.json["errors"][0]["message"]
    assert harness.call("GET", f"{path}?page=10&page_size=1000").status_code == 200


def test_operations_are_filtered(five_vms: ApiHarness) -> None:
    every = five_vms.get_json("/operations")
    assert (every["total"], every["page"], every["page_size"], every["next"]) == (7, 1, 50, None)
    times = [operation["created_at"] for operation in every["items"]]
    assert times == sorted(times, reverse=True)
    failed = five_vms.get_json("/operations?status=failed")["items"]
    assert [operation["error"]["code"] for operation in failed] == ["build_failed"]
    (stop,) = five_vms.get_json("/operations?action=stop")["items"]
    assert five_vms.get_json(f"/operations/{stop['id']}") == stop
    of_vm = five_vms.get_json(f"/operations?vm_id={stop['vm_id']}")["items"]
    assert sorted(operation["action"] for operation in of_vm) == ["create", "stop"]
    assert five_vms.get_json(f"/operations?vm_id={stop['vm_id'].upper()}")["total"] == 2
    assert five_vms.get_json("/operations?vm_id=unknown&action=stop&status=failed")["total"] == 0
