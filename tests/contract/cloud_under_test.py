"""The cloud under test: a driver, small specs, waiting and cleaning up."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import NAMESPACE_URL, uuid5

from vmapi.backends.base import AcceptedAction, ActionOutcome, Backend
from vmapi.domain.catalog import Flavor, Image, Network
from vmapi.domain.lifecycle import Status, Verb
from vmapi.domain.vm import VM, CreateSpec
from vmapi.errors import VMNotFound

SpecHook = Callable[[CreateSpec], CreateSpec]


@dataclass
class CloudUnderTest:
    """One driver and its environment, for one test.

    The waiting methods count polls, not seconds, so that `sleep` may do nothing with recorded
    responses. A hook turns a spec into one with a special build; without a hook the cloud cannot
    do that.
    """

    backend: Backend
    label: str
    """The prefix of all names and the seed of all ids. The same label sends the same requests, so
    that recorded responses fit; on a shared cloud it needs a token of the run."""
    sleep: Callable[[float], None]
    poll_interval: float = 0.1
    """In seconds."""
    max_polls: int = 600
    slow_build: SpecHook | None = None
    """A build that lasts long enough to observe its task."""
    failing_build: SpecHook | None = None
    """A build that fails on its host."""
    no_host_build: SpecHook | None = None
    """A build for which the cloud finds no host."""
    slow_actions: bool = False
    """Whether an action certainly lasts longer than a read."""
    created_vm_ids: list[str] = field(default_factory=list)

    @property
    def flavor(self) -> Flavor:
        """The smallest flavor."""
        return min(self.backend.list_flavors(), key=lambda flavor: (flavor.ram_mb, flavor.name))

    @property
    def image(self) -> Image:
        """The first usable image by name."""
        usable = (image for image in self.backend.list_images() if image.status == "active")
        return min(usable, key=lambda image: image.name)

    @property
    def network(self) -> Network:
        """The default network, or else the first by name."""
        return min(
            self.backend.list_networks(), key=lambda network: (not network.default, network.name)
        )

    def vm_name(self, suffix: str) -> str:
        """Return a VM name of this test."""
        return f"{self.label}-{suffix}"

    def unknown_id(self, seed: str = "unknown") -> str:
        """Return a UUID that no object of the cloud has."""
        return str(uuid5(NAMESPACE_URL, f"vmapi:{self.label}:{seed}"))

    def operation_id(self, seed: str) -> str:
        """Return the operation id for a seed."""
        return self.unknown_id(seed)

    def build_spec(self, suffix: str = "vm", **changed: object) -> CreateSpec:
        """Build the spec of a small VM; `changed` overrides members of the spec."""
        members: dict[str, object] = {
            "name": self.vm_name(suffix),
            "flavor_id": self.flavor.id,
            "image_id": self.image.id,
            "network_id": self.network.id,
            "metadata": {},
            "user_data": None,
            "key_name": None,
            "security_groups": (),
        }
        return CreateSpec(**{**members, **changed})

    def create_vm(self, spec: CreateSpec, operation_seed: str = "operation") -> AcceptedAction:
        """Request a VM that is deleted after the test."""
        action = self.backend.create_vm(spec, self.operation_id(operation_seed))
        self.created_vm_ids.append(action.vm_id)
        return action

    def boot_vm(self, suffix: str = "vm", **changed: object) -> VM:
        """Request a VM and wait for the end of its build."""
        action = self.create_vm(self.build_spec(suffix, **changed), suffix)
        return self.wait_until_settled(action.vm_id)

    def perform_action(self, vm: VM, verb: Verb) -> VM:
        """Perform an action, assert its success, and return the VM afterwards."""
        action = self.backend.perform_action(vm.id, verb)
        assert action.vm_id == vm.id
        assert self.wait_for_outcome(action) is ActionOutcome.SUCCEEDED
        return self.wait_until_settled(vm.id)

    def delete_vm(self, vm_id: str) -> None:
        """Delete a VM and wait for the end of the deletion."""
        self.backend.perform_action(vm_id, Verb.DELETE)
        self.wait_until_deleted(vm_id)

    def poll_vm(self, vm_id: str) -> Iterator[VM]:
        """Fetch a VM repeatedly. Raises AssertionError after `max_polls`."""
        for _ in range(self.max_polls):
            yield self.backend.get_vm(vm_id)
            self.sleep(self.poll_interval)
        raise AssertionError(f"VM {vm_id} has not reached the expected state")

    def wait_until_settled(self, vm_id: str) -> VM:
        """Wait until no task is in progress, and return the VM."""
        return next(
            vm for vm in self.poll_vm(vm_id) if vm.task is None and vm.status is not Status.BUILDING
        )

    def wait_until_deleted(self, vm_id: str) -> None:
        """Wait until the VM is not found."""
        try:
            for _ in self.poll_vm(vm_id):
                pass
        except VMNotFound:
            return

    def wait_for_outcome(self, action: AcceptedAction) -> ActionOutcome:
        """Wait until an action has an outcome, and return it."""
        for _ in range(self.max_polls):
            outcome = self.backend.get_outcome(action)
            if outcome is not ActionOutcome.PENDING:
                return outcome
            self.sleep(self.poll_interval)
        raise AssertionError(f"{action} stays pending")

    @contextmanager
    def deleting_created_vms(self) -> Iterator[None]:
        """Delete the VMs of the test after a `with` block, with or without an error."""
        try:
            yield
        finally:
            for vm_id in self.created_vm_ids:
                try:
                    self.delete_vm(vm_id)
                except VMNotFound:
                    continue
