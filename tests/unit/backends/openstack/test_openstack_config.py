"""The configuration of the OpenStack driver: credentials and imports."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import create_certificate
from tests.support.fake_openstack import (
    openstack_settings,
)
from vmapi import errors
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.settings.settings import Settings
from vmapi.settings.tls import TLSOptions


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


def test_tls_variables_count_with_the_settings_of_vmapi(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = openstack_settings("https://keystone.example:5000", monkeypatch)
    certificate, key = map(str, create_certificate(tmp_path))
    own_urls = ("https://keystone.example:5000/v3", "https://keystone.example:5000/identity")
    other_urls = (
        "https://keystone.example/v3",
        "http://keystone.example:5000/v3",
        "https://x:5000",
    )

    def check_options(expected: TLSOptions) -> None:
        backend = OpenStackBackend.from_settings(settings)
        assert {backend.identity_tls(url) for url in own_urls} == {expected}
        assert {backend.identity_tls(url) for url in other_urls} == {None}

    check_options(TLSOptions())
    monkeypatch.setenv("OS_CACERT", certificate)
    check_options(TLSOptions(certificate))
    monkeypatch.setenv("OS_CERT", certificate)
    monkeypatch.setenv("OS_KEY", key)
    check_options(TLSOptions(certificate, (certificate, key)))
    monkeypatch.setenv("OS_INSECURE", "false")
    check_options(TLSOptions(certificate, (certificate, key)))
    monkeypatch.delenv("OS_CACERT")
    monkeypatch.setenv("OS_INSECURE", "true")
    check_options(TLSOptions(False, (certificate, key)))


@pytest.mark.parametrize("source", ["settings", "environment", "clouds.yaml"])
def test_missing_ca_file_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str
) -> None:
    settings = openstack_settings("https://keystone.example", monkeypatch)
    absent = tmp_path / "absent.pem"
    if source == "clouds.yaml":
        auth = "{auth_url: 'https://x/v3', username: u, password: p, project_name: q}"
        clouds = tmp_path / "clouds.yaml"
        clouds.write_text(f"clouds: {{cloud-1: {{auth: {auth}, cacert: {absent}}}}}")
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
        settings = replace(settings, os_cloud="cloud-1")
    else:
        monkeypatch.setenv("OS_CACERT", str(absent))
    if source == "environment":
        for name in ("USERNAME", "PASSWORD", "PROJECT_NAME"):
            monkeypatch.setenv(f"OS_{name}", "x")
        monkeypatch.setenv("OS_AUTH_URL", "https://keystone.example/v3")
    with pytest.raises(errors.SettingsError, match=r"absent\.pem: cannot be read"):
        OpenStackBackend.from_settings(settings)


def test_ca_file_that_disappears_is_backend_unavailable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate, _ = create_certificate(tmp_path)
    monkeypatch.setenv("OS_CACERT", str(certificate))
    settings = openstack_settings("https://127.0.0.1:1", monkeypatch)
    monkeypatch.setenv("OS_CACERT", str(certificate))
    backend = OpenStackBackend.from_settings(settings)
    certificate.unlink()
    for call in (backend.ping, backend.list_flavors, backend.list_vms):
        with pytest.raises(errors.BackendUnavailable) as caught:
            call()
        assert str(certificate) in caught.value.detail


def test_sdk_is_imported_by_this_driver_only() -> None:
    imports = "import sys, vmapi.backends.base, vmapi.settings.settings"
    code = f"{imports}; sys.exit('openstack' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
