"""Python client of vmapi: virtual machines over HTTP, each change carried out once.

from vmapi_client import Client

with Client() as client:
    vm = client.vms.create("web-1", flavor="m1.small", image="debian-12", start=True, wait=True)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vmapi_client.version import __version__

if TYPE_CHECKING:
    from vmapi_client import errors, models
    from vmapi_client.aio.client import AsyncClient
    from vmapi_client.errors import ProblemError, VmapiError
    from vmapi_client.models import VM, Event, Operation
    from vmapi_client.sync.client import Client

__all__ = [
    "VM",
    "AsyncClient",
    "Client",
    "Event",
    "Operation",
    "ProblemError",
    "VmapiError",
    "__version__",
    "errors",
    "models",
]

_MODULES = {
    "AsyncClient": "vmapi_client.aio.client",
    "Client": "vmapi_client.sync.client",
    "Event": "vmapi_client.models",
    "Operation": "vmapi_client.models",
    "ProblemError": "vmapi_client.errors",
    "VM": "vmapi_client.models",
    "VmapiError": "vmapi_client.errors",
}


def __getattr__(name: str) -> Any:
    """Import a name at its first use: the command line starts without httpx."""
    if name in ("errors", "models"):
        return import_module(f"vmapi_client.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module 'vmapi_client' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
