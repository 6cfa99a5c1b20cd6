"""The registry of drivers: makes the driver that the settings name.

The application factory calls `create_backend`. A driver is imported when the settings name it and
not before, so that the memory cloud runs without the OpenStack SDK.
"""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from vmapi.backends.base import Backend, Driver
from vmapi.errors import SettingsError
from vmapi.settings.settings import Settings

ENTRY_POINT_GROUP = "vmapi.backends"
"""The group of entry points by which another package offers a driver."""

BUILT_IN_DRIVERS: Mapping[str, str] = MappingProxyType(
    {
        "memory": "vmapi.backends.memory.driver:MemoryBackend",
        "openstack": "vmapi.backends.openstack.driver:OpenStackBackend",
    }
)


def create_backend(settings: Settings) -> Backend:
    """Make the driver that the settings name, without a request to its cloud.

    Raises SettingsError when the driver is unknown or its settings are wrong.
    """
    return load_driver(settings.backend).from_settings(settings)


def load_driver(name: str) -> type[Driver]:
    """Return the class of a driver.

    A built-in driver wins over an entry point of its name.
    Raises SettingsError when no driver has this name, or when its import fails.
    """
    drivers = {
        built_in: EntryPoint(built_in, path, ENTRY_POINT_GROUP)
        for built_in, path in BUILT_IN_DRIVERS.items()
    }
    if name not in drivers:
        # the search through all installed packages is slow
        drivers = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)} | drivers
    if name not in drivers:
        raise SettingsError(f"VMAPI_BACKEND {name!r}: allowed is {', '.join(sorted(drivers))}")
    try:
        driver = drivers[name].load()
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"VMAPI_BACKEND {name!r} cannot be loaded: {error}") from error
    if not (isinstance(driver, type) and issubclass(driver, Driver)):
        raise SettingsError(f"VMAPI_BACKEND {name!r}: {drivers[name].value} is no driver")
    return driver
