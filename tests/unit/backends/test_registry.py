"""Drivers are found by name, and loaded only when they are asked for."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from vmapi.backends import registry
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.errors import SettingsError
from vmapi.settings.settings import Settings


def bring(monkeypatch: pytest.MonkeyPatch, *points: EntryPoint) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda group: points)


def test_memory_is_the_default() -> None:
    backend = registry.create_backend(Settings())
    assert isinstance(backend, MemoryBackend)
    backend.close()


def test_the_sdk_is_not_loaded_for_memory() -> None:
    code = (
        "import sys; from vmapi.backends import registry; "
        "from vmapi.settings.settings import Settings; "
        "registry.create_backend(Settings()); "
        "assert not {'openstack', 'keystoneauth1'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_another_package_can_bring_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = EntryPoint("mine", registry.BUILT_IN_DRIVERS["memory"], registry.ENTRY_POINT_GROUP)
    theirs = EntryPoint("memory", "nowhere:Nothing", registry.ENTRY_POINT_GROUP)
    bring(monkeypatch, mine, theirs)
    assert registry.load_driver("mine") is registry.load_driver("memory") is MemoryBackend


def test_an_unknown_name_is_told_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    bring(monkeypatch, EntryPoint("mine", "a:B", registry.ENTRY_POINT_GROUP))
    with pytest.raises(SettingsError, match="'azure': allowed is memory, mine, openstack"):
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
def test_what_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch, value: str, reason: str) -> None:
    bring(monkeypatch, EntryPoint("mine", value, registry.ENTRY_POINT_GROUP))
    with pytest.raises(SettingsError, match=f"VMAPI_BACKEND 'mine':? {reason}"):
        registry.create_backend(Settings(backend="mine"))
