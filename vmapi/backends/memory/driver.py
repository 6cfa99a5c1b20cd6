"""The driver of the in-memory cloud: lock, clock and fault injection.

It serves development and tests: without an OpenStack, with Nova's states and error messages.
Invariant: no threads. Every call completes the actions that are due by its time.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from random import Random
from threading import RLock
from time import sleep as real_sleep
from types import MappingProxyType
from typing import Self

from vmapi.backends.base import AcceptedAction, ActionOutcome, ChangeSet, Driver
from vmapi.backends.memory.catalog import FLAVORS, IMAGES
from vmapi.backends.memory.cloud import Cloud
from vmapi.backends.memory.faults import FaultInjector
from vmapi.backends.memory.networks import build_subnets
from vmapi.backends.memory.quota import CloudQuota
from vmapi.domain.access.identity import CallerToken
from vmapi.domain.catalog import Flavor, Image, Network
from vmapi.domain.lifecycle import Verb
from vmapi.domain.quota import ResourceLimits
from vmapi.domain.vm import VM, CreateSpec, VMPatch
from vmapi.errors import BackendTimeout, BackendUnavailable, ImageNotFound, InvalidState
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
    """A cloud in the memory of this process; its VMs end with the process."""

    single_process = True
    completes_immediately = True
    has_change_feed = True

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
        """Make an empty cloud.

        `latency` and `timeout` are in seconds; a call that takes longer than `timeout` raises
        BackendTimeout. Raises SettingsError for an unknown `default_network`.
        """
        self._latency = latency
        self._random = random or Random()  # noqa: S311 - faults, no secrets  # nosec B311
        self._faults = FaultInjector(faults, self._random)
        self.cloud = Cloud(build_subnets(default_network), CloudQuota(limits), default_project)
        self._settings_text = {
            "limits": render_memory_limits(limits),
            "latency": render_latency(latency),
            "faults": render_faults(faults) or "none",
        }
        self._timeout, self._clock, self._sleep = timeout, clock, sleep
        self._lock = RLock()
        self._on_delays_changed()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Make an empty cloud from the VMAPI_MEMORY_* settings. Raises SettingsError."""
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
            self._on_delays_changed()

    def set_latency(self, verb: Verb, seconds: float) -> None:
        """Change the latency of one verb, for actions that start afterwards."""
        with self._lock:
            self._latency = MappingProxyType({**self._latency, verb: seconds})
            self._settings_text["latency"] = render_latency(self._latency)
            self._on_delays_changed()

    def _on_delays_changed(self) -> None:
        self.may_wait = self._faults.has_delays or self._latency[Verb.UPDATE] > 0

    def describe(self) -> dict[str, str]:
        """Return the latency, the faults and the quota."""
        return {"cloud": "in memory, forgotten when the process ends", **self._settings_text}

    def ping(self) -> None:
        """Return, unless a fault triggers."""
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

    def get_image(self, image_id: str) -> Image:
        """Return an image. Raises ImageNotFound."""
        with self._api_call():
            if image_id not in IMAGES:
                raise ImageNotFound(f"There is no image {image_id}.")
            return IMAGES[image_id]

    def list_networks(self, *, refresh: bool = False) -> Sequence[Network]:
        """List the networks."""
        with self._api_call() as (cloud, _):
            return tuple(subnet.network for subnet in cloud.subnets.values())

    def get_cloud_limits(self, project: str) -> ResourceLimits:
        """Return the limits of VMAPI_MEMORY_LIMITS, which all projects share."""
        with self._api_call() as (cloud, _):
            return cloud.quota.limits

    def get_vm(self, vm_id: str) -> VM:
        """Return a copy of an instance. Raises VMNotFound."""
        with self._api_call() as (cloud, _):
            return cloud.instances.get(vm_id).to_vm()

    def list_vms(self, *, name: str | None = None) -> Sequence[VM]:
        """Return copies of the live instances, or of those with a name."""
        with self._api_call() as (cloud, _):
            instances = cloud.instances if name is None else cloud.instances.list_named(name)
            return tuple(instance.to_vm() for instance in instances)

    def list_changed_since(self, since: datetime) -> Sequence[VM]:
        """Return copies of the instances changed since a time, recently deleted ones too."""
        with self._api_call() as (cloud, _):
            return cloud.instances.list_changed_since(since)

    def list_changes_after(self, position: int | None) -> ChangeSet:
        """Return copies of the instances that changed after a position."""
        with self._api_call() as (cloud, _):
            return cloud.instances.list_changes_after(position)

    def cloud_time(self) -> datetime:
        """Return the time of the clock."""
        return self._clock()

    def get_console(self, vm_id: str, lines: int | None) -> str:
        """Return the console output. Raises VMNotFound; InvalidState if the build failed."""
        with self._api_call() as (cloud, _):
            instance = cloud.instances.get(vm_id)
            if instance.fault and not instance.launched:
                raise InvalidState(f"Instance {vm_id} is not ready")
            return instance.console.get_output(lines)

    def create_vm(
        self, spec: CreateSpec, operation_id: str, *, caller_token: CallerToken | None = None
    ) -> AcceptedAction:
        """Start a build. A repetition makes a second instance, as in Nova."""
        with self._api_call(is_change=True) as (cloud, now):
            cloud.check_create(spec)
            kinds = (FaultKind.NO_CAPACITY, FaultKind.BUILD_FAILED)
            fault = next((kind for kind in kinds if self._faults.triggers(kind)), None)
            return cloud.start_build(spec, operation_id, fault, now, self._latency[Verb.CREATE])

    def perform_action(
        self, vm_id: str, verb: Verb, *, caller_token: CallerToken | None = None
    ) -> AcceptedAction:
        """Start an action, or refuse it as Nova does."""
        with self._api_call(is_change=True) as (cloud, now):
            cloud.instances.get(vm_id).check_action(verb)
            fails = verb is not Verb.DELETE and self._faults.triggers(FaultKind.ACTION_FAILED)
            return cloud.start_action(vm_id, verb, fails, now, self._latency[verb])

    def update_vm(
        self, vm_id: str, changes: VMPatch, *, caller_token: CallerToken | None = None
    ) -> None:
        """Change name and metadata; the call takes the latency of `update`."""
        with self._api_call(is_change=True, duration_seconds=self._latency[Verb.UPDATE]) as (
            cloud,
            now,
        ):
            cloud.update_instance(vm_id, changes, now)

    def get_outcome(self, action: AcceptedAction) -> ActionOutcome:
        """Return the outcome of an action, of a recently deleted instance too."""
        with self._api_call() as (cloud, _):
            return cloud.action_log.get_outcome(action.vm_id, action.request_id)

    def find_created_vm(self, operation_id: str) -> AcceptedAction | None:
        """Find the live instance with the operation id."""
        with self._api_call() as (cloud, _):
            instance = cloud.instances.find_created_by(operation_id)
            return instance.create_action if instance else None

    def find_action(
        self, vm_id: str, verb: Verb, since: datetime, exclude_request_ids: Collection[str] = ()
    ) -> AcceptedAction | None:
        """Find the newest action of this verb, of a recently deleted instance too."""
        with self._api_call() as (cloud, _):
            action = cloud.action_log.find_latest(vm_id, verb, since, exclude_request_ids)
            return AcceptedAction(vm_id, action.request_id) if action else None

    @contextmanager
    def _api_call(
        self, *, is_change: bool = False, duration_seconds: float = 0.0
    ) -> Iterator[tuple[Cloud, datetime]]:
        """Surround one call with the faults: unavailable, slow, lost response."""
        with self._lock:
            if self._faults.triggers(FaultKind.UNAVAILABLE):
                raise BackendUnavailable("The in-memory cloud is unavailable: an injected fault.")
            duration_seconds += self._faults.get_delay()
            now = self._clock()
            self.cloud.run_due(now)
            yield self.cloud, now
            is_response_lost = is_change and self._faults.triggers(FaultKind.LOST_ANSWER)
        if duration_seconds:
            self._sleep(min(duration_seconds, self._timeout))
        if is_response_lost or duration_seconds > self._timeout:
            raise BackendTimeout("The in-memory cloud did not respond in time: an injected fault.")
