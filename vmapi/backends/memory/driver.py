"""The driver of the in-memory cloud: one lock, a clock, and the failures it was told to show."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from random import Random
from threading import RLock
from time import sleep as real_sleep
from typing import Self

from vmapi.backends.base import Backend, Outcome, Receipt
from vmapi.backends.memory import latency as latencies
from vmapi.backends.memory.catalog import FLAVORS, IMAGES
from vmapi.backends.memory.cloud import Project
from vmapi.backends.memory.faults import Faults, Kind
from vmapi.backends.memory.networks import subnets
from vmapi.backends.memory.quota import Limits
from vmapi.domain.catalog import Flavor, Image, Network
from vmapi.domain.credential import Credential
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import VM, Changes, CreateSpec
from vmapi.errors import BackendTimeout, BackendUnavailable, InvalidState
from vmapi.settings.settings import Settings


def _real_clock() -> datetime:
    return datetime.now(UTC)


class MemoryBackend(Backend):
    """A cloud in this process's memory. docs/memory.md says what it offers.

    It starts no threads: what has become due is computed when somebody looks.
    """

    single_process = True
    instant = True

    def __init__(
        self,
        *,
        latency: str = "0",
        faults: str = "",
        limits: str = "",
        default_network: str | None = None,
        default_project: str = "default",
        timeout: float = 30.0,
        clock: Callable[[], datetime] = _real_clock,
        random: Random | None = None,
        sleep: Callable[[float], None] = real_sleep,
    ) -> None:
        """Make an empty cloud; texts are written as in the settings, `timeout` is in seconds.

        Raises SettingsError.
        """
        self._latency = latencies.parse(latency)
        self._random = random or Random()  # noqa: S311 - faults, no secrets  # nosec B311
        self._faults = Faults(faults, self._random)
        self._project = Project(subnets(default_network), Limits.parse(limits), default_project)
        self._told = {
            "limits": str(self._project.limits),
            "latency": latency or "0",
            "faults": faults or "none",
        }
        self._timeout = timeout
        self._clock = clock
        self._sleep = sleep
        self._lock = RLock()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Make the cloud that the VMAPI_MEMORY_… settings describe. Raises SettingsError."""
        return cls(
            latency=settings.memory_latency,
            faults=settings.memory_faults,
            limits=settings.memory_limits,
            default_network=settings.default_network,
            default_project=settings.default_project,
            timeout=settings.backend_timeout,
        )

    def set_faults(self, faults: str) -> None:
        """Show these failures from now on and no others. Raises SettingsError."""
        with self._lock:
            self._faults = Faults(faults, self._random)
            self._told["faults"] = faults or "none"

    def describe(self) -> dict[str, str]:
        """Return its settings."""
        return {"cloud": "in memory, forgotten when the process ends", **self._told}

    def ping(self) -> None:
        """Answer, unless told not to."""
        with self._called():
            pass

    def flavors(self, *, fresh: bool = False) -> Sequence[Flavor]:
        """List the flavors."""
        with self._called():
            return tuple(FLAVORS.values())

    def images(self, *, fresh: bool = False) -> Sequence[Image]:
        """List the images."""
        with self._called():
            return tuple(IMAGES.values())

    def networks(self, *, fresh: bool = False) -> Sequence[Network]:
        """List the networks."""
        with self._called() as (cloud, _):
            return tuple(subnet.network for subnet in cloud.subnets.values())

    def get(self, vm_id: str) -> VM:
        """Return a copy of a VM as it is now. Raises VMNotFound."""
        with self._called() as (cloud, _):
            return cloud.machine(vm_id).shown()

    def vms(self, *, name: str | None = None) -> Sequence[VM]:
        """Return copies of the live VMs, or of those of one name."""
        with self._called() as (cloud, _):
            machines = cloud.machines.values()
            return tuple(one.shown() for one in machines if name is None or one.name == name)

    def changed(self, since: datetime) -> Sequence[VM]:
        """Return copies of the VMs that have changed since, those deleted not long ago included."""
        with self._called() as (cloud, _):
            live = (machine.shown() for machine in cloud.machines.values())
            return tuple(vm for vm in (*live, *cloud.deleted) if vm.updated_at >= since)

    def now(self) -> datetime:
        """Return what time it is."""
        return self._clock()

    def console(self, vm_id: str, lines: int | None) -> str:
        """Return what a VM printed. Raises VMNotFound, and InvalidState where it has no host."""
        with self._called() as (cloud, _):
            machine = cloud.machine(vm_id)
            if machine.fault and not machine.launched:
                raise InvalidState(f"Instance {vm_id} is not ready")
            return machine.console.text(lines)

    def create(
        self, spec: CreateSpec, operation_id: str, *, on_behalf: Credential | None = None
    ) -> Receipt:
        """Begin to build a VM; asked twice, it makes two, as Nova does."""
        with self._called(change=True) as (cloud, now):
            cloud.check(spec)
            kinds = (Kind.NO_CAPACITY, Kind.BUILD_FAILED)
            fault = next((kind for kind in kinds if self._faults.strikes(kind)), None)
            return cloud.build(spec, operation_id, fault, now, self._latency[Verb.CREATE])

    def perform(self, vm_id: str, verb: Verb, *, on_behalf: Credential | None = None) -> Receipt:
        """Begin to carry a verb out, or refuse it as Nova does."""
        with self._called(change=True) as (cloud, now):
            cloud.machine(vm_id).check(verb)
            fails = verb is not Verb.DELETE and self._faults.strikes(Kind.ACTION_FAILED)
            return cloud.perform(vm_id, verb, fails, now, self._latency[verb])

    def update(self, vm_id: str, changes: Changes, *, on_behalf: Credential | None = None) -> None:
        """Change name and metadata; the call lasts as long as `update` takes."""
        with self._called(change=True, takes=self._latency[Verb.UPDATE]) as (cloud, now):
            cloud.update(vm_id, changes, now)

    def outcome(self, receipt: Receipt) -> Outcome:
        """Tell what has become of a change, also on a VM deleted not long ago."""
        with self._called() as (cloud, _):
            return cloud.ledger.outcome(receipt.vm_id, receipt.request_id)

    def find_created(self, operation_id: str) -> Receipt | None:
        """Find the VM that a create has made, as long as it is there."""
        with self._called() as (cloud, _):
            machines = cloud.machines.values()
            return next((one.receipt for one in machines if one.operation_id == operation_id), None)

    def find_performed(
        self, vm_id: str, verb: Verb, since: datetime, known: Collection[str] = ()
    ) -> Receipt | None:
        """Find the latest such action, also on a VM deleted not long ago."""
        with self._called() as (cloud, _):
            action = cloud.ledger.latest(vm_id, verb, since, known)
            return Receipt(vm_id, action.request_id) if action else None

    @contextmanager
    def _called(
        self, *, change: bool = False, takes: float = 0.0
    ) -> Iterator[tuple[Project, datetime]]:
        """Surround one call with what it was told: to be refused, slow, or left unanswered."""
        with self._lock:
            if self._faults.strikes(Kind.UNAVAILABLE):
                raise BackendUnavailable("The in-memory cloud was told to be unavailable.")
            takes += self._faults.delay()
            now = self._clock()
            self._project.advance(now)
            yield self._project, now
            lost = change and self._faults.strikes(Kind.LOST_ANSWER)
        if takes:
            self._sleep(min(takes, self._timeout))
        if lost or takes > self._timeout:
            raise BackendTimeout("The in-memory cloud did not answer in time, as it was told.")
