"""A cloud behind a breaker: asked as any other, and refusing at once while it is away."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Self

from vmapi.backends import registry
from vmapi.backends.base import Backend, Outcome, Receipt
from vmapi.backends.circuit_breaker import Breaker
from vmapi.domain.catalog import Flavor, Image, Network
from vmapi.domain.credential import Credential
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import VM, Changes, CreateSpec
from vmapi.settings.settings import Settings


class Guarded(Backend):
    """Hands each call on to a driver.

    What it offers to build from tells nothing of a cloud: drivers remember it.
    """

    def __init__(self, driver: Backend) -> None:
        self._driver = driver
        self.breaker = Breaker(driver.ping)
        self.single_process = driver.single_process
        self.instant = driver.instant

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Guard the driver that the settings name."""
        return cls(registry.load(settings))

    @property
    def away(self) -> bool:
        """Whether the cloud may be away."""
        return self.breaker.away

    def ensure(self) -> None:
        """Raise BackendUnavailable while nothing is sent."""
        self.breaker.ensure()

    def close(self) -> None:
        """Let go of connections."""
        self.breaker.stop()
        self._driver.close()

    def describe(self) -> dict[str, str]:
        """Return what an operator should know of it."""
        return self._driver.describe()

    def ping(self) -> None:
        """Return when the cloud answers."""
        with self.breaker.call():
            self._driver.ping()

    def flavors(self, *, fresh: bool = False) -> Sequence[Flavor]:
        """List the flavors."""
        self.ensure()
        return self._driver.flavors(fresh=fresh)

    def images(self, *, fresh: bool = False) -> Sequence[Image]:
        """List the images."""
        self.ensure()
        return self._driver.images(fresh=fresh)

    def networks(self, *, fresh: bool = False) -> Sequence[Network]:
        """List the networks."""
        self.ensure()
        return self._driver.networks(fresh=fresh)

    def check_create(self, project: str, on_behalf: Credential | None) -> None:
        """Raise Forbidden where nothing may be created."""
        self.ensure()
        self._driver.check_create(project, on_behalf)

    def get(self, vm_id: str) -> VM:
        """Return a VM as it is now."""
        with self.breaker.call():
            return self._driver.get(vm_id)

    def vms(self, *, name: str | None = None) -> Sequence[VM]:
        """Return every live VM, or those of one name."""
        with self.breaker.call():
            return self._driver.vms(name=name)

    def changed(self, since: datetime) -> Sequence[VM]:
        """Return the VMs that have changed since."""
        with self.breaker.call():
            return self._driver.changed(since)

    def now(self) -> datetime:
        """Return the cloud's time as far as its answers have told it."""
        return self._driver.now()

    def console(self, vm_id: str, lines: int | None) -> str:
        """Return what a VM printed."""
        with self.breaker.call():
            return self._driver.console(vm_id, lines)

    def create(
        self, spec: CreateSpec, operation_id: str, *, on_behalf: Credential | None = None
    ) -> Receipt:
        """Have a VM built."""
        with self.breaker.call():
            return self._driver.create(spec, operation_id, on_behalf=on_behalf)

    def perform(self, vm_id: str, verb: Verb, *, on_behalf: Credential | None = None) -> Receipt:
        """Carry one verb out."""
        with self.breaker.call():
            return self._driver.perform(vm_id, verb, on_behalf=on_behalf)

    def update(self, vm_id: str, changes: Changes, *, on_behalf: Credential | None = None) -> None:
        """Change name and metadata."""
        with self.breaker.call():
            self._driver.update(vm_id, changes, on_behalf=on_behalf)

    def outcome(self, receipt: Receipt) -> Outcome:
        """Tell what has become of a change."""
        with self.breaker.call():
            return self._driver.outcome(receipt)

    def find_created(self, operation_id: str) -> Receipt | None:
        """Find what a create of unknown outcome has made."""
        with self.breaker.call():
            return self._driver.find_created(operation_id)

    def find_performed(
        self, vm_id: str, verb: Verb, since: datetime, known: Collection[str] = ()
    ) -> Receipt | None:
        """Find what a verb of unknown outcome has set going."""
        with self.breaker.call():
            return self._driver.find_performed(vm_id, verb, since, known)
