"""The cloud under test: a driver, what to build from, waiting, and cleaning up."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import NAMESPACE_URL, uuid5

from vmapi.backends.base import AcceptedAction, ActionOutcome, Backend
from vmapi.domain.catalog import Flavor, Image, Network
from vmapi.domain.lifecycle import Status, Verb
from vmapi.domain.vm import VM, CreateSpec
from vmapi.errors import VMNotFound

Spec = Callable[[CreateSpec], CreateSpec]


@dataclass
class Cloud:
    """One driver and its surroundings, for one test.

    `label` makes every name and id of the test: the same label sends the same requests, so that
    recorded answers fit; on a cloud that others use too, put a token of the run into it. Waiting
    counts polls and not seconds: with recorded answers, `sleep` may do nothing.

    What a cloud can be made to do is told by hooks, None where it cannot: each takes a spec and
    returns the one whose build is slow (so that a task can be caught under way), fails on its host,
    or finds no host.
    """

    backend: Backend
    label: str
    sleep: Callable[[float], None]
    interval: float = 0.1
    polls: int = 600
    slow_build: Spec | None = None
    failing_build: Spec | None = None
    homeless_build: Spec | None = None
    slow_actions: bool = False
    """Whether an action takes so long that a read sees its task for certain."""
    made: list[str] = field(default_factory=list)

    @property
    def flavor(self) -> Flavor:
        """The smallest flavor."""
        return min(self.backend.list_flavors(), key=lambda flavor: (flavor.ram_mb, flavor.name))

    @property
    def image(self) -> Image:
        """The first image that can be used, by name."""
        usable = (image for image in self.backend.list_images() if image.status == "active")
        return min(usable, key=lambda image: image.name)

    @property
    def network(self) -> Network:
        """The network that is the default, or else the first by name."""
        return min(
            self.backend.list_networks(), key=lambda network: (not network.default, network.name)
        )

    def name(self, what: str) -> str:
        """Name a VM of this test."""
        return f"{self.label}-{what}"

    def unknown_id(self, what: str = "nobody") -> str:
        """Make a UUID that the cloud has not given to anything."""
        return str(uuid5(NAMESPACE_URL, f"vmapi:{self.label}:{what}"))

    operation_id = unknown_id

    def spec(self, what: str = "vm", **changed: object) -> CreateSpec:
        """Specify a small VM; `changed` overrides any member of the spec."""
        members: dict[str, object] = {
            "name": self.name(what),
            "flavor_id": self.flavor.id,
            "image_id": self.image.id,
            "network_id": self.network.id,
            "metadata": {},
            "user_data": None,
            "key_name": None,
            "security_groups": (),
        }
        return CreateSpec(**{**members, **changed})  # type: ignore[arg-type]

    def create(self, spec: CreateSpec, what: str = "operation") -> AcceptedAction:
        """Order a VM, to be deleted with the test."""
        receipt = self.backend.create_vm(spec, self.operation_id(what))
        self.made.append(receipt.vm_id)
        return receipt

    def boot(self, what: str = "vm", **changed: object) -> VM:
        """Order a VM and wait for it to be built."""
        return self.settle(self.create(self.spec(what, **changed), what).vm_id)

    def perform(self, vm: VM, verb: Verb) -> VM:
        """Carry a verb out, see that it succeeded, and return the VM as it is then."""
        receipt = self.backend.perform_action(vm.id, verb)
        assert receipt.vm_id == vm.id
        assert self.ended(receipt) is ActionOutcome.SUCCEEDED
        return self.settle(vm.id)

    def delete(self, vm_id: str) -> None:
        """Delete a VM and wait until it is gone."""
        self.backend.perform_action(vm_id, Verb.DELETE)
        self.gone(vm_id)

    def watch(self, vm_id: str) -> Iterator[VM]:
        """Show a VM again and again, as long as the polls last."""
        for _ in range(self.polls):
            yield self.backend.get_vm(vm_id)
            self.sleep(self.interval)
        raise AssertionError(f"VM {vm_id} does not come to an end")

    def settle(self, vm_id: str) -> VM:
        """Wait until nothing is under way with the VM."""
        return next(
            vm for vm in self.watch(vm_id) if vm.task is None and vm.status is not Status.BUILDING
        )

    def gone(self, vm_id: str) -> None:
        """Wait until the VM is no more."""
        try:
            for _ in self.watch(vm_id):
                pass
        except VMNotFound:
            return

    def ended(self, receipt: AcceptedAction) -> ActionOutcome:
        """Wait until the outcome of an action is known."""
        for _ in range(self.polls):
            outcome = self.backend.get_outcome(receipt)
            if outcome is not ActionOutcome.PENDING:
                return outcome
            self.sleep(self.interval)
        raise AssertionError(f"{receipt} stays pending")

    @contextmanager
    def cleaned(self) -> Iterator["Cloud"]:
        """Delete what the test has made, however it ends."""
        try:
            yield self
        finally:
            for vm_id in self.made:
                try:
                    self.delete(vm_id)
                except VMNotFound:
                    continue
