"""The one project of this cloud: its machines, and what is due to happen to them.

Nothing here locks, waits or reads a clock: the driver does, and says what time it is.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
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
from vmapi.backends.memory.networks import Subnet
from vmapi.backends.memory.quota import CloudQuota
from vmapi.domain.lifecycle import Status, Verb
from vmapi.domain.project import with_project
from vmapi.domain.vm import VM, CreateSpec, Fault, VMPatch
from vmapi.errors import QuotaExceeded, VMNotFound
from vmapi.settings.memory import FaultKind

DELETED_HISTORY = 1000
"""Deleted machines that are still told of."""
MAX_METADATA_ITEMS = 128
"""Pairs of metadata that a machine may have, as with Nova."""


class Cloud:
    """Machines and their changes; each change comes to its end when its time is due."""

    def __init__(self, subnets: dict[str, Subnet], quota: CloudQuota, default_project: str) -> None:
        self.subnets = subnets
        self.quota = quota
        self._default_project = default_project
        self.instances: dict[str, Instance] = {}
        self.action_log = ActionLog()
        self.deleted_vms: deque[VM] = deque(maxlen=DELETED_HISTORY)
        self._pending_actions: list[tuple[datetime, int, Instance, PendingAction]] = []
        self._sequence = count()

    def run_due(self, now: datetime) -> None:
        """Let everything happen that is due by now, in order."""
        while self._pending_actions and self._pending_actions[0][0] <= now:
            at, _, machine, change = heappop(self._pending_actions)
            if machine.pending is change:
                self._complete(machine, change, at)

    def get_instance(self, vm_id: str) -> Instance:
        """Return a machine. Raises VMNotFound."""
        if vm_id not in self.instances:
            raise VMNotFound(f"Instance {vm_id} could not be found.")
        return self.instances[vm_id]

    def check_create(self, spec: CreateSpec) -> None:
        """Refuse what cannot be built. Raises what `Backend.create` does."""
        check_spec(spec, self.subnets)
        used = [machine.flavor for machine in self.instances.values()]
        self.quota.check(used, FLAVORS[spec.flavor_id])
        _check_metadata_count(with_project(spec))

    def start_build(
        self,
        spec: CreateSpec,
        operation_id: str,
        fault: FaultKind | None,
        now: datetime,
        duration_seconds: float,
    ) -> AcceptedAction:
        """Begin to build a machine of a spec that was checked; `takes` is in seconds."""
        vm_id, image = str(uuid4()), IMAGES[spec.image_id].name
        subnet = self._get_subnet(spec.network_id)
        cause = build_fault(fault, vm_id)
        address = None if cause else subnet.allocate()
        if not address and not cause:
            cause = no_address_fault(vm_id, subnet.network.id)
        machine = Instance(
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
        self.instances[vm_id] = machine
        machine.create_action = self._start(machine, Verb.CREATE, cause, now, duration_seconds)
        return machine.create_action

    def start_action(
        self, vm_id: str, verb: Verb, fails: bool, now: datetime, duration_seconds: float
    ) -> AcceptedAction:
        """Begin to carry out a verb that was checked; `takes` is in seconds."""
        machine = self.get_instance(vm_id)
        if verb is not Verb.DELETE:
            return self._start(
                machine, verb, action_fault(verb) if fails else None, now, duration_seconds
            )
        if machine.pending and machine.pending.verb is Verb.DELETE:
            return self._log_action(machine, machine.pending, now)
        if machine.pending:
            machine.pending.set_outcome(ActionOutcome.FAILED)
        return self._start(machine, verb, None, now, duration_seconds)

    def update_instance(self, vm_id: str, changes: VMPatch, now: datetime) -> None:
        """Change name and metadata. Raises VMNotFound, InvalidState, TaskInProgress, QuotaExceeded.

        As in Nova a rename is always allowed; to leave the metadata as it is is no change.
        """
        machine = self.get_instance(vm_id)
        metadata = changes.applied_to(machine.metadata)
        if metadata != machine.metadata:
            machine.check_action(Verb.UPDATE)
            _check_metadata_count(metadata)
            machine.metadata, machine.updated_at = metadata, now
        if changes.name is not None:
            machine.name, machine.updated_at = changes.name, now

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
        change = instance.pending = PendingAction(verb, fault)
        instance.updated_at = now
        due = now + timedelta(seconds=duration_seconds)
        heappush(self._pending_actions, (due, next(self._sequence), instance, change))
        return self._log_action(instance, change, now)

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
            return
        del self.instances[instance.id]
        gone = replace(instance.to_vm(), status=Status.DELETED, task=None, updated_at=at)
        self.deleted_vms.append(gone)
        self.action_log.mark_deleted(instance.id)
        if instance.address:
            instance.subnet.release(instance.address)


def _check_metadata_count(metadata: Mapping[str, str]) -> None:
    if len(metadata) > MAX_METADATA_ITEMS:
        raise QuotaExceeded(f"Maximum number of metadata items exceeds {MAX_METADATA_ITEMS}")
