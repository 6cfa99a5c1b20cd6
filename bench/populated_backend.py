"""A memory cloud with sample VMs.

They are created in the cloud, outside of vmapi: thousands of requests would take minutes.
"""

from datetime import UTC, datetime

from bench.population import build_sample
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import CreateSpec
from vmapi.settings.memory import MemoryLimits

VERBS = {"STOPPED": Verb.STOP, "PAUSED": Verb.PAUSE}
"""The action that gives a running VM a status."""


class SettableClock:
    """The clock of the cloud. It stands still at `time`, and without it shows the present."""

    time: datetime | None = None

    def __call__(self) -> datetime:
        """Return the time."""
        return self.time or datetime.now(UTC)


def build_backend(limits: MemoryLimits, number: int) -> MemoryBackend:
    """Make a cloud with a number of sample VMs."""
    clock = SettableClock()
    backend = MemoryBackend(limits=limits, clock=clock)
    populate(backend, clock, number)
    return backend


def populate(backend: MemoryBackend, clock: SettableClock, number: int) -> None:
    """Create a number of sample VMs."""
    flavors = {flavor.name: flavor.id for flavor in backend.list_flavors()}
    images = {image.name: image.id for image in backend.list_images()}
    network = next(network for network in backend.list_networks() if not network.external)
    for place in range(number):
        sample = build_sample(place, number)
        clock.time = sample.created_at
        spec = CreateSpec(
            name=sample.name,
            flavor_id=flavors[sample.flavor],
            image_id=images[sample.image],
            network_id=network.id,
            metadata=sample.metadata,
            user_data=None,
            key_name=None,
            security_groups=("default",),
        )
        vm_id = backend.create_vm(spec, f"bench-{place}").vm_id
        if sample.status in VERBS:
            backend.perform_action(vm_id, VERBS[sample.status])
    clock.time = None
