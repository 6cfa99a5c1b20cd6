"""VMs, and the words for their status, task and actions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from vmapi_client.models.model import CLIENT_ONLY, Model

Status = Literal["BUILDING", "STOPPED", "RUNNING", "PAUSED", "ERROR", "DELETED"]
"""A status in a filter. The status of a VM is a `str`: a newer server may have more."""

Action = Literal["start", "stop", "restart", "pause", "resume", "delete"]
"""An action on existing VMs."""

RestartType = Literal["soft", "hard"]

SortKey = Literal["created_at", "-created_at", "name", "-name", "updated_at", "-updated_at"]


@dataclass(frozen=True, kw_only=True)
class Address(Model):
    """One IP address of a VM. `type` is `fixed` or `floating`."""

    network: str
    ip: str
    version: int
    type: str


@dataclass(frozen=True, kw_only=True)
class Fault(Model):
    """The cause of the status ERROR, with the code of the matching problem."""

    code: str
    message: str
    hint: str


@dataclass(frozen=True, kw_only=True)
class VM(Model):
    """A virtual machine as it was when vmapi answered.

    Lists have no `etag`. `operation_id` names the operation of the change that returned the VM.
    """

    id: str
    name: str
    flavor: str
    image: str | None
    status: str
    task: str | None
    allowed_actions: tuple[str, ...]
    ip_address: str | None
    addresses: tuple[Address, ...]
    metadata: Mapping[str, str] = field(hash=False)
    key_name: str | None
    security_groups: tuple[str, ...]
    locked: bool
    fault: Fault | None
    backend_status: str
    created_at: datetime
    updated_at: datetime
    etag: str | None = field(default=None, compare=False, repr=False, metadata={CLIENT_ONLY: True})
    operation_id: str | None = field(
        default=None, compare=False, repr=False, metadata={CLIENT_ONLY: True}
    )


@dataclass(frozen=True, kw_only=True)
class VMState(Model):
    """The status and the task of a VM."""

    vm_id: str
    status: str
    task: str | None
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class Console(Model):
    """The text that a VM wrote to its console."""

    output: str
