"""The driver contract: one interface between the services and a cloud.

The services call `Backend`; a driver implements `Driver`. Invariants of every driver:

- One verb becomes one request, the right one for the VM's state in the cloud.
- A driver never repeats a change. The reconciler decides whether to check, to wait or to give up.
- The `request_id` of structlog's context is sent to a cloud that accepts request ids.
- A change with a `caller_token` is sent with that token and no other credentials.
- All methods are safe to call from several threads.

Every method that sends a request may raise:

- `BackendUnavailable`: the cloud did not receive the request, or refused to process it.
- `BackendTimeout`: the cloud may have received the request; the outcome is unknown.
- `BackendError`: the cloud failed, or sent a response that the driver cannot read.

The docstrings list the other exceptions.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Self

from vmapi.domain.access.identity import CallerToken
from vmapi.domain.catalog import Flavor, Image, Network
from vmapi.domain.lifecycle import Verb
from vmapi.domain.quota import ResourceLimits
from vmapi.domain.vm import VM, CreateSpec, VMPatch
from vmapi.settings.settings import Settings
from vmapi.settings.tls import TLSOptions


@dataclass(frozen=True, slots=True)
class AcceptedAction:
    """A change that the cloud has accepted (HTTP 202)."""

    vm_id: str
    request_id: str
    """The cloud's id of the request, by which `Backend.get_outcome` finds the outcome."""


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """The VMs that changed after a position of the change feed."""

    vms: Sequence[VM]
    """Their current state, in the order of the last change. Deleted VMs have the status DELETED."""

    position: int
    """The position of the newest change."""

    is_complete: bool = True
    """False if the feed has forgotten deletions after the requested position."""


class ActionOutcome(Enum):
    """The state of a change that the cloud has accepted."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Backend(ABC):
    """One cloud, accessed as one of its projects."""

    single_process: bool = False
    """Whether the cloud lives in the memory of one process."""

    completes_immediately: bool = False
    """Whether a change may finish before its response, so that a read right after it pays off."""

    may_wait: bool = True
    """Whether a call may take time, so that few requests may wait for the cloud at once."""

    has_change_feed: bool = False
    """Whether `list_changes_after` works, so that a read need not visit unchanged VMs."""

    @property
    def is_suspect(self) -> bool:
        """Whether the cloud may be unreachable. Callers then skip optional reads."""
        return False

    def check_available(self) -> None:
        """Raise BackendUnavailable while the cloud is known to be unreachable."""

    def limit_waiting(self) -> AbstractContextManager[None]:
        """Return a context for a request that waits for another call to the cloud.

        Entering it raises BackendUnavailable while too many requests wait.
        """
        return nullcontext()

    def close(self) -> None:
        """Close the connections. No other method is called afterwards."""

    def identity_tls(self, url: str) -> TLSOptions | None:
        """Return the TLS options for the Keystone at a URL; None if it is not the cloud's own."""
        return None

    @abstractmethod
    def describe(self) -> dict[str, str]:
        """Return facts for the operator, without secrets, without a request to the cloud."""

    @abstractmethod
    def ping(self) -> None:
        """Send a cheap authenticated request, and return when the cloud responds.

        :raises Forbidden: the cloud refuses the credentials of vmapi.
        """

    @abstractmethod
    def list_flavors(self, *, refresh: bool = False) -> Sequence[Flavor]:
        """List the flavors, from a cache unless `refresh` is set.

        Each item of the catalog has the projects that may use it.
        """

    @abstractmethod
    def list_images(self, *, refresh: bool = False) -> Sequence[Image]:
        """List the images, from a cache unless `refresh` is set.

        The list may leave out images that can be used by their id only.
        """

    @abstractmethod
    def get_image(self, image_id: str) -> Image:
        """Fetch an image by its id.

        :raises ImageNotFound: there is no such image.
        """

    @abstractmethod
    def list_networks(self, *, refresh: bool = False) -> Sequence[Network]:
        """List the networks, from a cache unless `refresh` is set."""

    @abstractmethod
    def get_cloud_limits(self, project: str) -> ResourceLimits:
        """Return the limits of the cloud's own quota for the VMs of a project.

        The cloud counts all VMs of the OpenStack project, also those of other vmapi projects. None
        means that the cloud has no limit, or hides it from vmapi.
        """

    def check_create(self, project: str, caller_token: CallerToken | None) -> None:
        """Check that a VM can be created in a project, before its spec is resolved.

        :param project: the project of the new VM.
        :param caller_token: the caller's token, or None for the credentials of vmapi.
        :raises Forbidden: the VM would belong to another project, or vmapi could not see the VM.
        """

    @abstractmethod
    def get_vm(self, vm_id: str) -> VM:
        """Fetch the current state of a VM.

        `VM.project` is the project that the VM was created with; no `update_vm` changes it. A VM
        without a project gets the default project of the settings, and None where the cloud cannot
        say.

        :raises VMNotFound: there is no such VM, or it has been deleted.
        """

    @abstractmethod
    def list_vms(self, *, name: str | None = None) -> Sequence[VM]:
        """List all live VMs, or those with exactly this name.

        The list is complete, or the method raises.
        """

    @abstractmethod
    def list_changed_since(self, since: datetime) -> Sequence[VM]:
        """List the VMs with a status, task or name changed since a time.

        :param since: a time on the cloud's clock, see `cloud_time`.
        :returns: the changed VMs, and possibly more. Deleted VMs have the status DELETED.
        """

    def list_changes_after(self, position: int | None) -> ChangeSet:
        """List the VMs that changed after a position of the change feed.

        :param position: the position of an earlier change set; None for the first call.
        :raises NotImplementedError: `has_change_feed` is False.
        """
        raise NotImplementedError

    @abstractmethod
    def cloud_time(self) -> datetime:
        """Return the estimated time on the cloud's clock, which is never ahead of it."""

    @abstractmethod
    def get_console(self, vm_id: str, lines: int | None) -> str:
        """Return the serial console output of a VM.

        :param lines: the number of lines from the end; None for all.
        :raises VMNotFound: there is no such VM.
        :raises InvalidState: the VM has no console.
        """

    @abstractmethod
    def create_vm(
        self, spec: CreateSpec, operation_id: str, *, caller_token: CallerToken | None = None
    ) -> AcceptedAction:
        """Request a new VM, which the cloud builds and starts.

        :param operation_id: stored with the VM, so that `find_created_vm` finds it.
        :raises FlavorNotFound, ImageNotFound, NetworkNotFound, NetworkAmbiguous: see the spec.
        :raises KeyNotFound, SecurityGroupNotFound, ValidationFailed: see the spec.
        :raises QuotaExceeded: the cloud's quota does not allow this VM.
        :raises Forbidden: the cloud's policy or `check_create` does not allow this VM.
        :raises Unauthenticated: the cloud refuses the caller's token.
        """

    @abstractmethod
    def perform_action(
        self, vm_id: str, verb: Verb, *, caller_token: CallerToken | None = None
    ) -> AcceptedAction:
        """Request an action on a VM.

        :param verb: any verb but CREATE and UPDATE.
        :raises VMNotFound: there is no such VM.
        :raises InvalidState, TaskInProgress, VMLocked: the VM does not allow the action now.
        :raises QuotaExceeded, Forbidden: the cloud does not allow the action.
        :raises Unauthenticated: the cloud refuses the caller's token.
        """

    @abstractmethod
    def update_vm(
        self, vm_id: str, changes: VMPatch, *, caller_token: CallerToken | None = None
    ) -> None:
        """Change the name and the metadata of a VM.

        The change is complete when the method returns. A repetition with the same patch is safe.
        Raises the same errors as `perform_action`.
        """

    @abstractmethod
    def get_outcome(self, action: AcceptedAction) -> ActionOutcome:
        """Return the outcome of an action or a delete.

        The outcome of a create follows from the VM's status, task and fault instead.

        :raises VMNotFound: there is no such VM.
        """

    @abstractmethod
    def find_created_vm(self, operation_id: str) -> AcceptedAction | None:
        """Find the VM that a create of unknown outcome has made.

        The cloud finds the VM even before it is scheduled.

        :returns: the create, with an empty `request_id` where the cloud does not say; None where
            no VM exists.
        """

    @abstractmethod
    def find_action(
        self, vm_id: str, verb: Verb, since: datetime, exclude_request_ids: Collection[str] = ()
    ) -> AcceptedAction | None:
        """Find the action that a `perform_action` of unknown outcome has started.

        :param since: the time on the cloud's clock before the request was sent.
        :param exclude_request_ids: request ids of other operations.
        :returns: the newest matching action, or None.
        :raises VMNotFound: there is no such VM.
        """


class Driver(Backend):
    """A backend that the registry makes from the settings."""

    @classmethod
    @abstractmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Make the driver without a request to the cloud.

        :raises SettingsError: the settings of this driver are incomplete or wrong.
        """
