"""The contract between vmapi and a cloud.

A driver turns one verb into one call, the right one for the cloud's raw state, and never repeats a
change by itself: the service decides whether to look, to wait or to give up. The request id in
structlog's context (`request_id`) goes along to a cloud that takes one. A change that is made
`on_behalf` of somebody is sent with that credential and no other, to a cloud that knows such.

Any method may raise `BackendUnavailable` (nothing was sent), `BackendTimeout` (the outcome is not
known) and `BackendError` (the cloud answered, but not with an answer). The docstrings
list the rest.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Self

from vmapi.domain.catalog import Flavor, Image, Network
from vmapi.domain.identity import CallerToken
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import VM, CreateSpec, VMPatch
from vmapi.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class AcceptedAction:
    """The cloud has taken a change on; by `request_id` its outcome is found."""

    vm_id: str
    request_id: str


class ActionOutcome(Enum):
    """What has become of a change that the cloud has taken on."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Backend(ABC):
    """One cloud, seen as one project of it. Safe to use from several threads."""

    single_process: bool = False
    """Whether what it holds lives in one process's memory."""

    completes_immediately: bool = False
    """Whether a change may be over as soon as it was taken on: then a look at once is worth it."""

    @property
    def is_suspect(self) -> bool:
        """Whether the cloud may be away: who need not ask it leaves it alone."""
        return False

    def check_available(self) -> None:
        """Raise BackendUnavailable while the cloud is known to be away."""

    @classmethod
    @abstractmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Make the driver without asking the cloud. Raises SettingsError."""

    def close(self) -> None:
        """Let go of connections. The backend is not used afterwards."""

    @abstractmethod
    def describe(self) -> dict[str, str]:
        """Return what an operator should know of it: without asking the cloud, without secrets."""

    @abstractmethod
    def ping(self) -> None:
        """Return when the cloud answers a cheap, authenticated call.

        Raises Forbidden when the credentials are refused.
        """

    @abstractmethod
    def list_flavors(self, *, refresh: bool = False) -> Sequence[Flavor]:
        """List the flavors; `fresh` passes over what was remembered."""

    @abstractmethod
    def list_images(self, *, refresh: bool = False) -> Sequence[Image]:
        """List the images; `fresh` passes over what was remembered."""

    @abstractmethod
    def list_networks(self, *, refresh: bool = False) -> Sequence[Network]:
        """List the networks; `fresh` passes over what was remembered."""

    def check_create(self, project: str, caller_token: CallerToken | None) -> None:
        """Raise Forbidden where what would be created is not this project's, or never seen again.

        It is asked before anything else of a create is looked up.
        """

    @abstractmethod
    def get_vm(self, vm_id: str) -> VM:
        """Return a VM as it is now. Raises VMNotFound, also for one that has been deleted.

        Each VM says whose it is: the project that it was created with, which no `update` changes,
        else the one of the settings; None where the cloud cannot tell.
        """

    @abstractmethod
    def list_vms(self, *, name: str | None = None) -> Sequence[VM]:
        """Return every live VM, or those of exactly one name. Complete, or an error."""

    @abstractmethod
    def list_changed_since(self, since: datetime) -> Sequence[VM]:
        """Return the VMs whose status, task or name has changed since a time of the cloud's clock.

        Those deleted since are among them, DELETED. More may be returned than asked for.
        """

    @abstractmethod
    def cloud_time(self) -> datetime:
        """Return the cloud's time as far as its answers have told it: never ahead of that."""

    @abstractmethod
    def get_console(self, vm_id: str, lines: int | None) -> str:
        """Return the last lines, or all, of what the VM printed while booting.

        Raises VMNotFound, InvalidState.
        """

    @abstractmethod
    def create_vm(
        self, spec: CreateSpec, operation_id: str, *, caller_token: CallerToken | None = None
    ) -> AcceptedAction:
        """Have a VM built and started, marked so that `find_created` finds it.

        Raises FlavorNotFound, ImageNotFound, NetworkNotFound, NetworkAmbiguous, KeyNotFound,
        SecurityGroupNotFound, QuotaExceeded, Forbidden, ValidationFailed, Unauthenticated.
        """

    @abstractmethod
    def perform_action(
        self, vm_id: str, verb: Verb, *, caller_token: CallerToken | None = None
    ) -> AcceptedAction:
        """Carry one verb out, other than create and update.

        Raises VMNotFound, InvalidState, TaskInProgress, VMLocked, QuotaExceeded, Forbidden,
        Unauthenticated.
        """

    @abstractmethod
    def update_vm(
        self, vm_id: str, changes: VMPatch, *, caller_token: CallerToken | None = None
    ) -> None:
        """Change name and metadata; done when it returns, and may be called again.

        Raises VMNotFound, InvalidState, TaskInProgress, VMLocked, QuotaExceeded, Forbidden,
        Unauthenticated.
        """

    @abstractmethod
    def get_outcome(self, action: AcceptedAction) -> ActionOutcome:
        """Tell what has become of a change other than a create.

        A create is judged by the VM's status, task and fault. Raises VMNotFound.
        """

    @abstractmethod
    def find_created_vm(self, operation_id: str) -> AcceptedAction | None:
        """Find the VM that a create of unknown outcome has made, also one not yet scheduled."""

    @abstractmethod
    def find_action(
        self, vm_id: str, verb: Verb, since: datetime, exclude_request_ids: Collection[str] = ()
    ) -> AcceptedAction | None:
        """Find what a `perform` of unknown outcome, begun at `since`, has set going.

        The request ids that are `known` belong to others. Raises VMNotFound.
        """
