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

from vmapi.backends.base import Outcome, Receipt
from vmapi.backends.memory.action_log import Action, Ledger
from vmapi.backends.memory.catalog import FLAVORS, IMAGES, check_spec
from vmapi.backends.memory.console import Console
from vmapi.backends.memory.faults import Kind, action_fault, build_fault, no_address
from vmapi.backends.memory.instance import Change, Machine
from vmapi.backends.memory.networks import Subnet
from vmapi.backends.memory.quota import Limits
from vmapi.domain.lifecycle import Status, Verb
from vmapi.domain.project import marked
from vmapi.domain.vm import VM, Changes, CreateSpec, Fault
from vmapi.errors import QuotaExceeded, VMNotFound

REMEMBERED = 1000
"""Deleted machines that are still told of."""
METADATA_ITEMS = 128
"""Pairs of metadata that a machine may have, as with Nova."""


class Project:
    """Machines and their changes; each change comes to its end when its time is due."""

    def __init__(self, subnets: dict[str, Subnet], limits: Limits, default_project: str) -> None:
        self.subnets = subnets
        self.limits = limits
        self._default_project = default_project
        self.machines: dict[str, Machine] = {}
        self.ledger = Ledger()
        self.deleted: deque[VM] = deque(maxlen=REMEMBERED)
        self._due: list[tuple[datetime, int, Machine, Change]] = []
        self._numbers = count()

    def advance(self, now: datetime) -> None:
        """Let everything happen that is due by now, in order."""
        while self._due and self._due[0][0] <= now:
            at, _, machine, change = heappop(self._due)
            if machine.change is change:
                self._end(machine, change, at)

    def machine(self, vm_id: str) -> Machine:
        """Return a machine. Raises VMNotFound."""
        if vm_id not in self.machines:
            raise VMNotFound(f"Instance {vm_id} could not be found.")
        return self.machines[vm_id]

    def check(self, spec: CreateSpec) -> None:
        """Refuse what cannot be built. Raises what `Backend.create` does."""
        check_spec(spec, self.subnets)
        used = [machine.flavor for machine in self.machines.values()]
        self.limits.check(used, FLAVORS[spec.flavor_id])
        _check_size(marked(spec))

    def build(
        self, spec: CreateSpec, operation_id: str, fault: Kind | None, now: datetime, takes: float
    ) -> Receipt:
        """Begin to build a machine of a spec that was checked; `takes` is in seconds."""
        vm_id, image = str(uuid4()), IMAGES[spec.image_id].name
        subnet = self._subnet(spec.network_id)
        cause = build_fault(fault, vm_id)
        address = None if cause else subnet.take()
        if not address and not cause:
            cause = no_address(vm_id, subnet.network.id)
        machine = Machine(
            id=vm_id,
            name=spec.name,
            flavor=FLAVORS[spec.flavor_id],
            image=image,
            operation_id=operation_id,
            metadata=marked(spec),
            default_project=self._default_project,
            key_name=spec.key_name,
            security_groups=tuple(dict.fromkeys(spec.security_groups)) or ("default",),
            subnet=subnet,
            address=address,
            console=Console(spec, image),
            created_at=now,
            updated_at=now,
        )
        self.machines[vm_id] = machine
        machine.receipt = self._begin(machine, Verb.CREATE, cause, now, takes)
        return machine.receipt

    def perform(self, vm_id: str, verb: Verb, fails: bool, now: datetime, takes: float) -> Receipt:
        """Begin to carry out a verb that was checked; `takes` is in seconds."""
        machine = self.machine(vm_id)
        if verb is not Verb.DELETE:
            return self._begin(machine, verb, action_fault(verb) if fails else None, now, takes)
        if machine.change and machine.change.verb is Verb.DELETE:
            return self._record(machine, machine.change, now)
        if machine.change:
            machine.change.settle(Outcome.FAILED)
        return self._begin(machine, verb, None, now, takes)

    def update(self, vm_id: str, changes: Changes, now: datetime) -> None:
        """Change name and metadata. Raises VMNotFound, InvalidState, TaskInProgress, QuotaExceeded.

        As in Nova a rename is always allowed; to leave the metadata as it is is no change.
        """
        machine = self.machine(vm_id)
        metadata = changes.applied_to(machine.metadata)
        if metadata != machine.metadata:
            machine.check(Verb.UPDATE)
            _check_size(metadata)
            machine.metadata, machine.updated_at = metadata, now
        if changes.name is not None:
            machine.name, machine.updated_at = changes.name, now

    def _subnet(self, network_id: str | None) -> Subnet:
        return next(
            subnet
            for subnet in self.subnets.values()
            if subnet.network.id == network_id or (network_id is None and subnet.network.default)
        )

    def _begin(
        self, machine: Machine, verb: Verb, fault: Fault | None, now: datetime, takes: float
    ) -> Receipt:
        change = machine.change = Change(verb, fault)
        machine.updated_at = now
        due = now + timedelta(seconds=takes)
        heappush(self._due, (due, next(self._numbers), machine, change))
        return self._record(machine, change, now)

    def _record(self, machine: Machine, change: Change, now: datetime) -> Receipt:
        action = Action(change.verb, now)
        change.actions.append(action)
        self.ledger.record(machine.id, action)
        return Receipt(machine.id, action.request_id)

    def _end(self, machine: Machine, change: Change, at: datetime) -> None:
        change.settle(Outcome.FAILED if change.fault else Outcome.SUCCEEDED)
        if change.verb is not Verb.DELETE:
            machine.end(change, at)
            return
        del self.machines[machine.id]
        gone = replace(machine.shown(), status=Status.DELETED, task=None, updated_at=at)
        self.deleted.append(gone)
        self.ledger.retire(machine.id)
        if machine.address:
            machine.subnet.free(machine.address)


def _check_size(metadata: Mapping[str, str]) -> None:
    if len(metadata) > METADATA_ITEMS:
        raise QuotaExceeded(f"Maximum number of metadata items exceeds {METADATA_ITEMS}")
