"""The driver of the in-memory cloud: one lock, a clock, and the failures it was told to show."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from random import Random
from threading import RLock
from time import sleep as real_sleep
from typing import Self

from vmapi.backends.base import AcceptedAction, ActionOutcome, Driver
from vmapi.backends.memory.catalog import FLAVORS, IMAGES
from vmapi.backends.memory.cloud import Cloud
from vmapi.backends.memory.faults import FaultInjector
from vmapi.backends.memory.networks import build_subnets
from vmapi.backends.memory.quota import CloudQuota
from vmapi.domain.catalog import Flavor, Image, Network
from vmapi.domain.identity import CallerToken
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import VM, CreateSpec, VMPatch
from vmapi.errors import BackendTimeout, BackendUnavailable, InvalidState
from vmapi.settings.memory import (
    FaultKind,
    FaultRule,
    MemoryLimits,
    parse_faults,
    parse_latency,
    render_faults,
    render_latency,
    render_memory_limits,
)
from vmapi.settings.settings import Settings

NO_LATENCY = parse_latency("")
NO_FAULTS = parse_faults("")
DEFAULT_MEMORY_LIMITS = MemoryLimits()


def _utc_now() -> datetime:
    return datetime.now(UTC)


class MemoryBackend(Driver):
    """A cloud in this process's memory. docs/memory.md says what it offers.

    It starts no threads: what has become due is computed when somebody looks.
    """

    single_process = True
    completes_immediately = True

    def __init__(
        self,
        *,
        latency: Mapping[Verb, float] = NO_LATENCY,
        faults: Mapping[FaultKind, FaultRule] = NO_FAULTS,
        limits: MemoryLimits = DEFAULT_MEMORY_LIMITS,
        default_network: str | None = None,
        default_project: str = "default",
        timeout: float = 30.0,
        clock: Callable[[], datetime] = _utc_now,
        random: Random | None = None,
        sleep: Callable[[float], None] = real_sleep,
    ) -> None:
        """Create an empty cloud; `timeout` is in seconds. Raises SettingsError."""
        self._latency = latency
        self._random = random or Random()  # noqa: S311 - faults, no secrets  # nosec B311
        self._faults = FaultInjector(faults, self._random)
        self._cloud = Cloud(build_subnets(default_network), CloudQuota(limits), default_project)
        self._settings_text = {
            "limits": render_memory_limits(limits),
            "latency": render_latency(latency),
            "faults": render_faults(faults) or "none",
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
        """Replace the faults; the text is as in VMAPI_MEMORY_FAULTS. Raises ValueError."""
        with self._lock:
            self._faults = FaultInjector(parse_faults(faults), self._random)
            self._settings_text["faults"] = faults or "none"

    def describe(self) -> dict[str, str]:
        """Return its settings."""
        return {"cloud": "in memory, forgotten when the process ends", **self._settings_text}

    def ping(self) -> None:
        """Answer, unless told not to."""
        with self._api_call():
            pass

    def list_flavors(self, *, refresh: bool = False) -> Sequence[Flavor]:
        """List the flavors."""
        with self._api_call():
            return tuple(FLAVORS.values())

    def list_images(self, *, refresh: bool = False) -> Sequence[Image]:
        """List the images."""
        with self._api_call():
            return tuple(IMAGES.values())

    def list_networks(self, *, refresh: bool = False) -> Sequence[Network]:
        """List the networks."""
        with self._api_call() as (cloud, _):
            return tuple(subnet.network for subnet in cloud.subnets.values())

    def get_vm(self, vm_id: str) -> VM:
        """Return a copy of a VM as it is now. Raises VMNotFound."""
        with self._api_call() as (cloud, _):
            return cloud.get_instance(vm_id).to_vm()

    def list_vms(self, *, name: str | None = None) -> Sequence[VM]:
        """Return copies of the live VMs, or of those of one name."""
        with self._api_call() as (cloud, _):
            machines = cloud.instances.values()
            return tuple(one.to_vm() for one in machines if name is None or one.name == name)

    def list_changed_since(self, since: datetime) -> Sequence[VM]:
        """Return copies of the VMs that have changed since, those deleted not long ago included."""
        with self._api_call() as (cloud, _):
            live = (machine.to_vm() for machine in cloud.instances.values())
            return tuple(vm for vm in (*live, *cloud.deleted_vms) if vm.updated_at >= since)

    def cloud_time(self) -> datetime:
        """Return what time it is."""
        return self._clock()

    def get_console(self, vm_id: str, lines: int | None) -> str:
        """Return what a VM printed. Raises VMNotFound, and InvalidState where it has no host."""
        with self._api_call() as (cloud, _):
            machine = cloud.get_instance(vm_id)
            if machine.fault and not machine.launched:
                raise InvalidState(f"Instance {vm_id} is not ready")
            return machine.console.get_output(lines)

    def create_vm(
        self, spec: CreateSpec, operation_id: str, *, caller_token: CallerToken | None = None
    ) -> AcceptedAction:
        """Begin to build a VM; asked twice, it makes two, as Nova does."""
        with self._api_call(is_change=True) as (cloud, now):
            cloud.check_create(spec)
            kinds = (FaultKind.NO_CAPACITY, FaultKind.BUILD_FAILED)
            fault = next((kind for kind in kinds if self._faults.triggers(kind)), None)
            return cloud.start_build(spec, operation_id, fault, now, self._latency[Verb.CREATE])

    def perform_action(
        self, vm_id: str, verb: Verb, *, caller_token: CallerToken | None = None
    ) -> AcceptedAction:
        """Begin to carry a verb out, or refuse it as Nova does."""
        with self._api_call(is_change=True) as (cloud, now):
            cloud.get_instance(vm_id).check_action(verb)
            fails = verb is not Verb.DELETE and self._faults.triggers(FaultKind.ACTION_FAILED)
            return cloud.start_action(vm_id, verb, fails, now, self._latency[verb])

    def update_vm(
        self, vm_id: str, changes: VMPatch, *, caller_token: CallerToken | None = None
    ) -> None:
        """Change name and metadata; the call lasts as long as `update` takes."""
        with self._api_call(is_change=True, duration_seconds=self._latency[Verb.UPDATE]) as (
            cloud,
            now,
        ):
            cloud.update_instance(vm_id, changes, now)

    def get_outcome(self, action: AcceptedAction) -> ActionOutcome:
        """Tell what has become of a change, also on a VM deleted not long ago."""
        with self._api_call() as (cloud, _):
            return cloud.action_log.get_outcome(action.vm_id, action.request_id)

    def find_created_vm(self, operation_id: str) -> AcceptedAction | None:
        """Find the VM that a create has made, as long as it is there."""
        with self._api_call() as (cloud, _):
            machines = cloud.instances.values()
            return next(
                (one.create_action for one in machines if one.operation_id == operation_id), None
            )

    def find_action(
        self, vm_id: str, verb: Verb, since: datetime, exclude_request_ids: Collection[str] = ()
    ) -> AcceptedAction | None:
        """Find the latest such action, also on a VM deleted not long ago."""
        with self._api_call() as (cloud, _):
            action = cloud.action_log.find_latest(vm_id, verb, since, exclude_request_ids)
            return AcceptedAction(vm_id, action.request_id) if action else None

    @contextmanager
    def _api_call(
        self, *, is_change: bool = False, duration_seconds: float = 0.0
    ) -> Iterator[tuple[Cloud, datetime]]:
        """Surround one call with what it was told: to be refused, slow, or left unanswered."""
        with self._lock:
            if self._faults.triggers(FaultKind.UNAVAILABLE):
                raise BackendUnavailable("The in-memory cloud was told to be unavailable.")
            duration_seconds += self._faults.get_delay()
            now = self._clock()
            self._cloud.run_due(now)
            yield self._cloud, now
            lost = is_change and self._faults.triggers(FaultKind.LOST_ANSWER)
        if duration_seconds:
            self._sleep(min(duration_seconds, self._timeout))
        if lost or duration_seconds > self._timeout:
            raise BackendTimeout("The in-memory cloud did not answer in time, as it was told.")
