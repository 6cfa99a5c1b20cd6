"""The configuration of the OpenStack driver: credentials and imports."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from tests.support.fake_openstack import (
    openstack_settings,
)
from vmapi import errors
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.settings.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")


def test_credentials_come_from_clouds_yaml_then_environment_then_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    complete = openstack_settings("http://settings.example", monkeypatch)

    def auth_url(settings: Settings) -> str:
        return OpenStackBackend.from_settings(settings).describe()["auth_url"]

    assert auth_url(complete) == "http://settings.example/identity/v3"
    monkeypatch.setenv("OS_AUTH_URL", "http://u:pw@environment.example/v3")
    for name in ("USERNAME", "PASSWORD", "PROJECT_NAME"):
        monkeypatch.setenv(f"OS_{name}", "x")
    assert auth_url(complete) == "http://environment.example/v3"
    clouds = tmp_path / "clouds.yaml"
    auth = "{auth_url: 'http://clouds.example/v3', username: u, password: p, project_name: q}"
    clouds.write_text(f"clouds: {{cloud-1: {{auth: {auth}, region_name: R1}}}}")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
    described = OpenStackBackend.from_settings(replace(complete, os_cloud="cloud-1")).describe()
    assert described == {
        "backend": "openstack",
        "cloud": "cloud-1",
        "auth_url": "http://clouds.example/v3",
        "project": "q",
        "region": "R1",
        "sees": "its own project only",
        "microversion": "not asked yet",
    }
    with pytest.raises(errors.SettingsError, match="absent"):
        OpenStackBackend.from_settings(replace(complete, os_cloud="absent"))


def test_incomplete_credentials_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.SettingsError, match="OPENSTACK_PASSWORD"):
        OpenStackBackend.from_settings(openstack_settings("http://x", monkeypatch, password=None))
    with pytest.raises(errors.SettingsError, match="OS_CLOUD"):
        OpenStackBackend.from_settings(Settings())


def test_sdk_is_imported_by_this_driver_only() -> None:
    imports = "import sys, vmapi.backends.base, vmapi.settings.settings"
    code = f"{imports}; sys.exit('openstack' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
