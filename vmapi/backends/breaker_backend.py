"""A cloud behind a breaker: asked as any other, and refusing at once while it is away."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Self

from vmapi.backends import registry
from vmapi.backends.base import AcceptedAction, ActionOutcome, Backend
from vmapi.backends.circuit_breaker import CircuitBreaker
from vmapi.domain.catalog import Flavor, Image, Network
from vmapi.domain.identity import CallerToken
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import VM, CreateSpec, VMPatch
from vmapi.settings.settings import Settings


class CircuitBreakerBackend(Backend):
    """Hands each call on to a driver.

    What it offers to build from tells nothing of a cloud: drivers remember it.
    """

    def __init__(self, driver: Backend) -> None:
        self._driver = driver
        self.breaker = CircuitBreaker(driver.ping)
        self.single_process = driver.single_process
        self.completes_immediately = driver.completes_immediately

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Guard the driver that the settings name."""
        return cls(registry.create_backend(settings))

    @property
    def is_suspect(self) -> bool:
        """Whether the cloud may be away."""
        return self.breaker.is_suspect

    def check_available(self) -> None:
        """Raise BackendUnavailable while nothing is sent."""
        self.breaker.raise_if_open()

    def close(self) -> None:
        """Let go of connections."""
        self.breaker.stop_probing()
        self._driver.close()

    def describe(self) -> dict[str, str]:
        """Return what an operator should know of it."""
        return self._driver.describe()

    def ping(self) -> None:
        """Return when the cloud answers."""
        with self.breaker.calling():
            self._driver.ping()

    def list_flavors(self, *, refresh: bool = False) -> Sequence[Flavor]:
        """List the flavors."""
        self.check_available()
        return self._driver.list_flavors(refresh=refresh)

    def list_images(self, *, refresh: bool = False) -> Sequence[Image]:
        """List the images."""
        self.check_available()
        return self._driver.list_images(refresh=refresh)

    def list_networks(self, *, refresh: bool = False) -> Sequence[Network]:
        """List the networks."""
        self.check_available()
        return self._driver.list_networks(refresh=refresh)

    def check_create(self, project: str, caller_token: CallerToken | None) -> None:
        """Raise Forbidden where nothing may be created."""
        self.check_available()
        self._driver.check_create(project, caller_token)

    def get_vm(self, vm_id: str) -> VM:
        """Return a VM as it is now."""
        with self.breaker.calling():
            return self._driver.get_vm(vm_id)

    def list_vms(self, *, name: str | None = None) -> Sequence[VM]:
        """Return every live VM, or those of one name."""
        with self.breaker.calling():
            return self._driver.list_vms(name=name)

    def list_changed_since(self, since: datetime) -> Sequence[VM]:
        """Return the VMs that have changed since."""
        with self.breaker.calling():
            return self._driver.list_changed_since(since)

    def cloud_time(self) -> datetime:
        """Return the cloud's time as far as its answers have told it."""
        return self._driver.cloud_time()

    def get_console(self, vm_id: str, lines: int | None) -> str:
        """Return what a VM printed."""
        with self.breaker.calling():
            return self._driver.get_console(vm_id, lines)

    def create_vm(
        self, spec: CreateSpec, operation_id: str, *, caller_token: CallerToken | None = None
    ) -> AcceptedAction:
        """Have a VM built."""
        with self.breaker.calling():
            return self._driver.create_vm(spec, operation_id, caller_token=caller_token)

    def perform_action(
        self, vm_id: str, verb: Verb, *, caller_token: CallerToken | None = None
    ) -> AcceptedAction:
        """Carry one verb out."""
        with self.breaker.calling():
            return self._driver.perform_action(vm_id, verb, caller_token=caller_token)

    def update_vm(
        self, vm_id: str, changes: VMPatch, *, caller_token: CallerToken | None = None
    ) -> None:
        """Change name and metadata."""
        with self.breaker.calling():
            self._driver.update_vm(vm_id, changes, caller_token=caller_token)

    def get_outcome(self, action: AcceptedAction) -> ActionOutcome:
        """Tell what has become of a change."""
        with self.breaker.calling():
            return self._driver.get_outcome(action)

    def find_created_vm(self, operation_id: str) -> AcceptedAction | None:
        """Find what a create of unknown outcome has made."""
        with self.breaker.calling():
            return self._driver.find_created_vm(operation_id)

    def find_action(
        self, vm_id: str, verb: Verb, since: datetime, exclude_request_ids: Collection[str] = ()
    ) -> AcceptedAction | None:
        """Find what a verb of unknown outcome has set going."""
        with self.breaker.calling():
            return self._driver.find_action(vm_id, verb, since, exclude_request_ids)
