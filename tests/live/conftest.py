"""The cloud that the live suite runs on: the one that OS_CLOUD names."""

import os

import pytest

from vmapi.settings import Settings


@pytest.fixture(scope="session")
def cloud_settings() -> Settings:
    """Return the settings of a vmapi in front of the cloud; skip without one, unless required."""
    name = os.environ.get("OS_CLOUD")
    if not name:
        required = "cloud" in os.environ.get("VMAPI_REQUIRE", "").split(",")
        (pytest.fail if required else pytest.skip)("OS_CLOUD names no cloud")
    return Settings(backend="openstack", os_cloud=name)
