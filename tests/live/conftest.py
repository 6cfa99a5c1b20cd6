"""The real cloud of the live tests, named by OS_CLOUD."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import openstack
import pytest

from tests.support.live.api_script import RUN_LABEL, ApiScript, serve_app
from tests.support.live.nova_proxy import (
    IMPATIENT_TIMEOUT,
    NovaProxy,
    serve_proxy,
    write_clouds_file,
)
from vmapi.settings.settings import Settings


@pytest.fixture(autouse=True)
def _background_threads() -> None:
    """Check no threads: those of the app of the session outlive the test that starts them."""


@pytest.fixture(scope="session")
def cloud_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return the settings of a vmapi for the cloud; skip without OS_CLOUD, unless required."""
    database = tmp_path_factory.mktemp("database") / "vmapi.sqlite3"
    name = os.environ.get("OS_CLOUD")
    if not name:
        required = "cloud" in os.environ.get("TEST_REQUIRE", "").split(",")
        (pytest.fail if required else pytest.skip)("OS_CLOUD names no cloud")
    return Settings(
        backend="openstack",
        os_cloud=name,
        database_url=f"sqlite:///{database}",
        auth=("none",),
        rate_reads=(),
        rate_changes=(),
        rate_address=(),
    )


@pytest.fixture(scope="session")
def devcloud(cloud_settings: Settings) -> str:
    """Return the name of a cloud that tests may break; skip on any other cloud."""
    name = cloud_settings.os_cloud or ""
    if not name.startswith("devcloud"):
        pytest.skip(f"{name} is no devcloud: tests may not break it, and have no admin account")
    return name


@pytest.fixture(scope="session")
def owner(cloud_settings: Settings) -> Iterator[Any]:
    """Return the SDK in the same project, for changes that bypass vmapi."""
    yield from _connected(cloud_settings.os_cloud)


@pytest.fixture(scope="session")
def admin(devcloud: str) -> Iterator[Any]:
    """Return the SDK as the cloud's admin, in another project."""
    yield from _connected(f"{devcloud}-admin")


@pytest.fixture(scope="session")
def _served(cloud_settings: Settings) -> Iterator[ApiScript]:
    with serve_app(cloud_settings) as script:
        yield script


@pytest.fixture
def script(_served: ApiScript) -> Iterator[ApiScript]:
    """Return a script on the app of the session; delete its VMs after the test."""
    script = ApiScript(_served.send, f"{RUN_LABEL}-{uuid4().hex[:4]}")
    try:
        yield script
    finally:
        script.delete_created_vms()


@pytest.fixture
def proxy(owner: Any) -> Iterator[NovaProxy]:
    """Return a proxy in front of Nova."""
    with serve_proxy(owner.compute.get_endpoint()) as proxy:
        yield proxy


@pytest.fixture
def settings_with_proxy(
    proxy: NovaProxy, cloud_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Return settings with which all requests to Nova go through the proxy."""
    cloud = cloud_settings.os_cloud or ""
    path = write_clouds_file(tmp_path, cloud, {}, compute_endpoint_override=proxy.url)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", path)
    return cloud_settings


@pytest.fixture
def proxied_script(settings_with_proxy: Settings) -> Iterator[ApiScript]:
    """Return a script on a vmapi that sends all requests to Nova through the proxy."""
    with serve_app(settings_with_proxy) as script:
        try:
            yield script
        finally:
            script.delete_created_vms()


@pytest.fixture
def impatient_script(settings_with_proxy: Settings) -> Iterator[ApiScript]:
    """Return a script on a vmapi behind the proxy with a short backend timeout."""
    with serve_app(replace(settings_with_proxy, backend_timeout=IMPATIENT_TIMEOUT)) as script:
        try:
            yield script
        finally:
            script.delete_created_vms()


def _connected(cloud: str | None) -> Iterator[Any]:
    connection = openstack.connect(cloud=cloud)
    yield connection
    connection.close()
