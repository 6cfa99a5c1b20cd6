"""The driver registry: drivers are found by name and imported on demand."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from vmapi.backends import registry
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.errors import SettingsError
from vmapi.settings.settings import Settings

IMPORT_CHECK = """
import sys
from vmapi.backends import registry
from vmapi.settings.settings import Settings
registry.create_backend(Settings())
assert not {'openstack', 'keystoneauth1'} & set(sys.modules)
"""


def install_entry_points(monkeypatch: pytest.MonkeyPatch, *points: EntryPoint) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda group: points)


def test_default_driver_is_memory() -> None:
    backend = registry.create_backend(Settings())
    assert isinstance(backend, MemoryBackend)
    backend.close()


def test_memory_driver_does_not_import_the_openstack_sdk() -> None:
    subprocess.run([sys.executable, "-c", IMPORT_CHECK], check=True)


def test_entry_point_adds_a_driver_but_does_not_replace_a_built_in_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    added = EntryPoint("extra", registry.BUILT_IN_DRIVERS["memory"], registry.ENTRY_POINT_GROUP)
    replacing = EntryPoint("memory", "nowhere:Nothing", registry.ENTRY_POINT_GROUP)
    install_entry_points(monkeypatch, added, replacing)
    assert registry.load_driver("extra") is registry.load_driver("memory") is MemoryBackend


def test_unknown_driver_is_refused_with_the_allowed_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install_entry_points(monkeypatch, EntryPoint("extra", "a:B", registry.ENTRY_POINT_GROUP))
    with pytest.raises(SettingsError, match="'azure': allowed is extra, memory, openstack"):
        registry.create_backend(Settings(backend="azure"))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("not_installed.driver:Driver", "cannot be loaded: No module named 'not_installed'"),
        ("vmapi.backends.memory.driver:Gone", "cannot be loaded: .*'Gone'"),
        ("vmapi.settings.settings:Settings", "vmapi.settings.settings:Settings is no driver"),
        ("vmapi.settings.server:LOG_LEVELS", "vmapi.settings.server:LOG_LEVELS is no driver"),
    ],
)
def test_driver_that_cannot_be_loaded_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str, reason: str
) -> None:
    install_entry_points(monkeypatch, EntryPoint("extra", value, registry.ENTRY_POINT_GROUP))
    with pytest.raises(SettingsError, match=f"VMAPI_BACKEND 'extra':? {reason}"):
        registry.create_backend(Settings(backend="extra"))
