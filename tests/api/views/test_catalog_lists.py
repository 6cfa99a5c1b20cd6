"""The lists of flavors, images and networks."""

import pytest

from tests.support.api_harness import ApiHarness


@pytest.mark.parametrize("path", ["/flavors", "/images", "/networks"])
def test_catalog_lists_flavors_images_and_networks(harness: ApiHarness, path: str) -> None:
    body = harness.get_json(path)
    assert list(body) == ["items"]
    names = [item["name"] for item in body["items"]]
    assert (
        names
        == {
            "/flavors": ["m1.tiny", "m1.small", "m1.medium", "m1.large", "m1.xlarge"],
            "/images": ["cirros", "debian-12", "ubuntu-22.04", "ubuntu-24.04"],
            "/networks": ["private", "public"],
        }[path]
    )
    assert (
        set(body["items"][0])
        == {
            "/flavors": {"id", "name", "vcpus", "ram_mb", "disk_gb"},
            "/images": {"id", "name", "status", "min_disk_gb", "min_ram_mb"},
            "/networks": {"id", "name"},
        }[path]
    )
