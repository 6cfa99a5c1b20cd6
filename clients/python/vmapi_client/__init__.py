"""Python client of vmapi: virtual machines over HTTP, each change carried out once.

from vmapi_client import Client

with Client() as client:
    vm = client.vms.create("web-1", flavor="m1.small", image="debian-12", start=True, wait=True)
"""

from vmapi_client.version import __version__

# an import of another package would delay the handler of Ctrl-C of the command line
TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from vmapi_client import errors, models
    from vmapi_client.aio.client import AsyncClient
    from vmapi_client.core.deadline import Deadline
    from vmapi_client.errors import ProblemError, VmapiError
    from vmapi_client.models import VM, Event, Operation
    from vmapi_client.sync.client import Client

__all__ = [
    "VM",
    "AsyncClient",
    "Client",
    "Deadline",
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
    "Deadline": "vmapi_client.core.deadline",
    "Event": "vmapi_client.models",
    "Operation": "vmapi_client.models",
    "ProblemError": "vmapi_client.errors",
    "VM": "vmapi_client.models",
    "VmapiError": "vmapi_client.errors",
}


def __getattr__(name: str) -> object:
    """Import a name at its first use: the command line starts without httpx."""
    from importlib import import_module

    if name in ("errors", "models"):
        return import_module(f"vmapi_client.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module 'vmapi_client' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
