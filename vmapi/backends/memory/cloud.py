"""The state of the in-memory cloud: instances, networks and a quota.

The driver calls the methods, holds its lock and passes the time. Invariant: no method locks, waits
or reads a clock.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from uuid import uuid4

from vmapi.backends.base import AcceptedAction, ActionOutcome
from vmapi.backends.memory.action_log import ActionLog, InstanceAction
from vmapi.backends.memory.catalog import FLAVORS, IMAGES, check_spec
from vmapi.backends.memory.console import SerialConsole
from vmapi.backends.memory.faults import action_fault, build_fault, no_address_fault
from vmapi.backends.memory.instance import Instance, PendingAction
from vmapi.backends.memory.instances import InstanceTable
from vmapi.backends.memory.networks import Subnet
from vmapi.backends.memory.quota import CloudQuota
from vmapi.domain.access.project import with_project
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import Address, CreateSpec, Fault, VMPatch
from vmapi.errors import QuotaExceeded
from vmapi.settings.memory import FaultKind

MAX_METADATA_ITEMS = 128
"""Nova's default limit of metadata items per server."""


class Cloud:
    """The instances, and their pending actions in the order of completion."""

    def __init__(self, subnets: dict[str, Subnet], quota: CloudQuota, default_project: str) -> None:
        self.subnets = subnets
        self.quota = quota
        self._default_project = default_project
        self.instances = InstanceTable()
        self.action_log = ActionLog()
        self._pending_actions: list[tuple[datetime, int, Instance, PendingAction]] = []
        self._sequence = count()

    def run_due(self, now: datetime) -> None:
        """Complete all actions that are due by now, in order."""
        while self._pending_actions and self._pending_actions[0][0] <= now:
            due_at, _, instance, pending = heappop(self._pending_actions)
            # a delete replaces the pending action of an instance
            if instance.pending is pending:
                self._complete(instance, pending, due_at)

    def check_create(self, spec: CreateSpec) -> None:
        """Check that a spec can be built. Raises the errors of `Backend.create_vm`."""
        check_spec(spec, self.subnets)
        self.quota.check(self.instances.usage, FLAVORS[spec.flavor_id])
        _check_metadata_count(with_project(spec))

    def start_build(
        self,
        spec: CreateSpec,
        operation_id: str,
        fault: FaultKind | None,
        now: datetime,
        duration_seconds: float,
    ) -> AcceptedAction:
        """Start the build of a checked spec; with a `fault` the build will fail."""
        vm_id = str(uuid4())
        subnet = self._get_subnet(spec.network_id)
        instance_fault = build_fault(fault, vm_id)
        address = None if instance_fault else subnet.allocate()
        if not address and not instance_fault:
            instance_fault = no_address_fault(vm_id, subnet.network.id)
        instance = self._new_instance(
            spec, vm_id=vm_id, operation_id=operation_id, subnet=subnet, address=address, now=now
        )
        self.instances.add(instance)
        instance.create_action = self._start(
            instance, Verb.CREATE, instance_fault, now, duration_seconds
        )
        return instance.create_action

    def start_action(
        self, vm_id: str, verb: Verb, fails: bool, now: datetime, duration_seconds: float
    ) -> AcceptedAction:
        """Start a checked action. A delete cancels the action in progress."""
        instance = self.instances.get(vm_id)
        if verb is not Verb.DELETE:
            return self._start(
                instance, verb, action_fault(verb) if fails else None, now, duration_seconds
            )
        if instance.pending and instance.pending.verb is Verb.DELETE:
            return self._log_action(instance, instance.pending, now)
        if instance.pending:
            instance.pending.set_outcome(ActionOutcome.FAILED)
        return self._start(instance, verb, None, now, duration_seconds)

    def update_instance(self, vm_id: str, changes: VMPatch, now: datetime) -> None:
        """Change name and metadata.

        As in Nova, a rename is always allowed, and equal metadata are no change. Raises VMNotFound,
        InvalidState, TaskInProgress, QuotaExceeded.
        """
        instance = self.instances.get(vm_id)
        metadata = changes.applied_to(instance.metadata)
        if metadata != instance.metadata:
            instance.check_action(Verb.UPDATE)
            _check_metadata_count(metadata)
            instance.metadata, instance.updated_at = metadata, now
            self.instances.record_change(instance)
        if changes.name is not None:
            instance.updated_at = now
            self.instances.rename(instance, changes.name)

    def _new_instance(
        self,
        spec: CreateSpec,
        *,
        vm_id: str,
        operation_id: str,
        subnet: Subnet,
        address: Address | None,
        now: datetime,
    ) -> Instance:
        image = IMAGES[spec.image_id].name
        return Instance(
            id=vm_id,
            name=spec.name,
            flavor=FLAVORS[spec.flavor_id],
            image=image,
            operation_id=operation_id,
            metadata=with_project(spec),
            default_project=self._default_project,
            key_name=spec.key_name,
            security_groups=tuple(dict.fromkeys(spec.security_groups)) or ("default",),
            subnet=subnet,
            address=address,
            console=SerialConsole(spec, image),
            created_at=now,
            updated_at=now,
        )

    def _get_subnet(self, network_id: str | None) -> Subnet:
        return next(
            subnet
            for subnet in self.subnets.values()
            if subnet.network.id == network_id or (network_id is None and subnet.network.default)
        )

    def _start(
        self,
        instance: Instance,
        verb: Verb,
        fault: Fault | None,
        now: datetime,
        duration_seconds: float,
    ) -> AcceptedAction:
        pending = instance.pending = PendingAction(verb, fault)
        instance.updated_at = now
        self.instances.record_change(instance)
        due_at = now + timedelta(seconds=duration_seconds)
        heappush(self._pending_actions, (due_at, next(self._sequence), instance, pending))
        return self._log_action(instance, pending, now)

    def _log_action(
        self, instance: Instance, pending: PendingAction, now: datetime
    ) -> AcceptedAction:
        action = InstanceAction(pending.verb, now)
        pending.actions.append(action)
        self.action_log.record(instance.id, action)
        return AcceptedAction(instance.id, action.request_id)

    def _complete(self, instance: Instance, pending: PendingAction, at: datetime) -> None:
        pending.set_outcome(ActionOutcome.FAILED if pending.fault else ActionOutcome.SUCCEEDED)
        if pending.verb is not Verb.DELETE:
            instance.complete(pending, at)
            self.instances.record_change(instance)
            return
        self.instances.remove(instance, at)
        self.action_log.mark_deleted(instance.id)
        if instance.address:
            instance.subnet.release(instance.address)


def _check_metadata_count(metadata: Mapping[str, str]) -> None:
    if len(metadata) > MAX_METADATA_ITEMS:
        raise QuotaExceeded(f"Maximum number of metadata items exceeds {MAX_METADATA_ITEMS}")
