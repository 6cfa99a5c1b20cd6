"""Which driver a name stands for; each is loaded when it is asked for and not before."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from vmapi.backends.base import Backend
from vmapi.errors import SettingsError
from vmapi.settings.settings import Settings

ENTRY_POINT_GROUP = "vmapi.backends"
"""The group of entry points by which another package brings a driver."""

BUILT_IN_DRIVERS: Mapping[str, str] = MappingProxyType(
    {
        "memory": "vmapi.backends.memory.driver:MemoryBackend",
        "openstack": "vmapi.backends.openstack.driver:OpenStackBackend",
    }
)


def create_backend(settings: Settings) -> Backend:
    """Make the driver that the settings name, without asking its cloud. Raises SettingsError."""
    return load_driver(settings.backend).from_settings(settings)


def load_driver(name: str) -> type[Backend]:
    """Return the class of a driver; the built-in ones come first.

    Raises SettingsError when there is none, or when what it needs is not installed.
    """
    known = {
        built: EntryPoint(built, value, ENTRY_POINT_GROUP)
        for built, value in BUILT_IN_DRIVERS.items()
    }
    if name not in known:
        # looking through everything that is installed takes its time
        known = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)} | known
    if name not in known:
        raise SettingsError(f"VMAPI_BACKEND {name!r}: allowed is {', '.join(sorted(known))}")
    try:
        loaded = known[name].load()
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"VMAPI_BACKEND {name!r} cannot be loaded: {error}") from error
    if not (isinstance(loaded, type) and issubclass(loaded, Backend)):
        raise SettingsError(f"VMAPI_BACKEND {name!r}: {known[name].value} is no driver")
    return loaded
