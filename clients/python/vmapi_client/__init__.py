"""Python client of vmapi: virtual machines over HTTP, each change carried out once.

from vmapi_client import Client

with Client() as client:
    vm = client.vms.create("web-1", flavor="m1.small", image="debian-12", start=True, wait=True)
"""

from vmapi_client import errors, models
from vmapi_client.aio.client import AsyncClient
from vmapi_client.errors import ProblemError, VmapiError
from vmapi_client.models import VM, Event, Operation
from vmapi_client.sync.client import Client
from vmapi_client.version import __version__

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
