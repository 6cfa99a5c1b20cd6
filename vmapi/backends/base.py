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
from vmapi.domain.credential import Credential
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import VM, Changes, CreateSpec
from vmapi.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class Receipt:
    """The cloud has taken a change on; by `request_id` its outcome is found."""

    vm_id: str
    request_id: str


class Outcome(Enum):
    """What has become of a change that the cloud has taken on."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Backend(ABC):
    """One cloud, seen as one project of it. Safe to use from several threads."""

    single_process: bool = False
    """Whether what it holds lives in one process's memory."""

    instant: bool = False
    """Whether a change may be over as soon as it was taken on: then a look at once is worth it."""

    @property
    def away(self) -> bool:
        """Whether the cloud may be away: who need not ask it leaves it alone."""
        return False

    def ensure(self) -> None:
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
    def flavors(self, *, fresh: bool = False) -> Sequence[Flavor]:
        """List the flavors; `fresh` passes over what was remembered."""

    @abstractmethod
    def images(self, *, fresh: bool = False) -> Sequence[Image]:
        """List the images; `fresh` passes over what was remembered."""

    @abstractmethod
    def networks(self, *, fresh: bool = False) -> Sequence[Network]:
        """List the networks; `fresh` passes over what was remembered."""

    def check_create(self, project: str, on_behalf: Credential | None) -> None:
        """Raise Forbidden where what would be created is not this project's, or never seen again.

        It is asked before anything else of a create is looked up.
        """

    @abstractmethod
    def get(self, vm_id: str) -> VM:
        """Return a VM as it is now. Raises VMNotFound, also for one that has been deleted.

        Each VM says whose it is: the project that it was created with, which no `update` changes,
        else the one of the settings; None where the cloud cannot tell.
        """

    @abstractmethod
    def vms(self, *, name: str | None = None) -> Sequence[VM]:
        """Return every live VM, or those of exactly one name. Complete, or an error."""

    @abstractmethod
    def changed(self, since: datetime) -> Sequence[VM]:
        """Return the VMs whose status, task or name has changed since a time of the cloud's clock.

        Those deleted since are among them, DELETED. More may be returned than asked for.
        """

    @abstractmethod
    def now(self) -> datetime:
        """Return the cloud's time as far as its answers have told it: never ahead of that."""

    @abstractmethod
    def console(self, vm_id: str, lines: int | None) -> str:
        """Return the last lines, or all, of what the VM printed while booting.

        Raises VMNotFound, InvalidState.
        """

    @abstractmethod
    def create(
        self, spec: CreateSpec, operation_id: str, *, on_behalf: Credential | None = None
    ) -> Receipt:
        """Have a VM built and started, marked so that `find_created` finds it.

        Raises FlavorNotFound, ImageNotFound, NetworkNotFound, NetworkAmbiguous, KeyNotFound,
        SecurityGroupNotFound, QuotaExceeded, Forbidden, ValidationFailed, Unauthenticated.
        """

    @abstractmethod
    def perform(self, vm_id: str, verb: Verb, *, on_behalf: Credential | None = None) -> Receipt:
        """Carry one verb out, other than create and update.

        Raises VMNotFound, InvalidState, TaskInProgress, VMLocked, QuotaExceeded, Forbidden,
        Unauthenticated.
        """

    @abstractmethod
    def update(self, vm_id: str, changes: Changes, *, on_behalf: Credential | None = None) -> None:
        """Change name and metadata; done when it returns, and may be called again.

        Raises VMNotFound, InvalidState, TaskInProgress, VMLocked, QuotaExceeded, Forbidden,
        Unauthenticated.
        """

    @abstractmethod
    def outcome(self, receipt: Receipt) -> Outcome:
        """Tell what has become of a change other than a create.

        A create is judged by the VM's status, task and fault. Raises VMNotFound.
        """

    @abstractmethod
    def find_created(self, operation_id: str) -> Receipt | None:
        """Find the VM that a create of unknown outcome has made, also one not yet scheduled."""

    @abstractmethod
    def find_performed(
        self, vm_id: str, verb: Verb, since: datetime, known: Collection[str] = ()
    ) -> Receipt | None:
        """Find what a `perform` of unknown outcome, begun at `since`, has set going.

        The request ids that are `known` belong to others. Raises VMNotFound.
        """
