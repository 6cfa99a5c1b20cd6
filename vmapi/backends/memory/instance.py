"""One instance of the in-memory cloud, and the checks and results of its actions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from vmapi.backends.base import AcceptedAction, ActionOutcome
from vmapi.backends.memory.action_log import InstanceAction
from vmapi.backends.memory.console import SerialConsole
from vmapi.backends.memory.networks import Subnet
from vmapi.backends.memory.states import (
    ALLOWED_STATES,
    NOVA_TASK_STATES,
    NOVA_VM_STATES,
    REBOOT_STATUSES,
    STATE_AFTER,
    STATUS_BY_STATE,
    TASK_BY_VERB,
    VERBS_ENDING_IN_ERROR,
    InstanceState,
)
from vmapi.domain.access.project import project_of
from vmapi.domain.catalog import Flavor
from vmapi.domain.lifecycle import Verb
from vmapi.domain.metadata import RESERVED_METADATA_PREFIX
from vmapi.domain.vm import VM, Address, Fault
from vmapi.errors import InvalidState, TaskInProgress


@dataclass(slots=True)
class PendingAction:
    """The action in progress on an instance."""

    verb: Verb
    fault: Fault | None
    """The fault with which the action will fail; None if it will succeed."""
    actions: list[InstanceAction] = field(default_factory=list)
    """The log entries of the requests: several for a repeated delete."""

    def set_outcome(self, outcome: ActionOutcome) -> None:
        """Set the outcome of all requests for this action."""
        for action in self.actions:
            action.outcome = outcome


@dataclass(slots=True, kw_only=True)
class Instance:
    """The current state of an instance. `to_vm` returns a copy."""

    id: str
    name: str
    flavor: Flavor
    image: str
    operation_id: str
    metadata: Mapping[str, str]
    default_project: str
    key_name: str | None
    security_groups: tuple[str, ...]
    subnet: Subnet
    address: Address | None
    console: SerialConsole
    created_at: datetime
    updated_at: datetime
    state: InstanceState = InstanceState.BUILD
    launched: bool = False
    fault: Fault | None = None
    pending: PendingAction | None = None
    create_action: AcceptedAction | None = None

    def check_action(self, verb: Verb) -> None:
        """Check an action: state, then task, then whether the instance ever ran.

        The order is Nova's. Raises InvalidState, TaskInProgress.
        """
        if verb is Verb.DELETE:
            return
        reason = f"Cannot '{verb}' instance {self.id} while it is in"
        if self.state not in ALLOWED_STATES[verb]:
            raise InvalidState(f"{reason} vm_state {NOVA_VM_STATES[self.state]}")
        if self.pending:
            raise TaskInProgress(f"{reason} task_state {NOVA_TASK_STATES[self.pending.verb]}")
        if not self.launched:
            raise InvalidState(f"Instance {self.id} is not ready")

    def complete(self, pending: PendingAction, at: datetime) -> None:
        """Apply the result of the pending action."""
        self.pending = None
        self.updated_at = at
        if pending.fault is None:
            self.state, self.fault, self.launched = STATE_AFTER[pending.verb], None, True
            self.console.print_action(pending.verb)
        elif pending.verb in VERBS_ENDING_IN_ERROR:
            self.state, self.fault = InstanceState.ERROR, pending.fault

    def to_vm(self) -> VM:
        """Return the instance as a VM."""
        verb = self.pending and self.pending.verb
        is_rebooting = verb in REBOOT_STATUSES and self.state is InstanceState.ACTIVE
        return VM(
            id=self.id,
            name=self.name,
            flavor=self.flavor.name,
            image=self.image,
            status=STATUS_BY_STATE[self.state],
            created_at=self.created_at,
            updated_at=self.updated_at,
            backend_status=REBOOT_STATUSES[verb] if verb and is_rebooting else self.state.value,
            task=TASK_BY_VERB[verb] if verb else None,
            addresses=(self.address,) if self.address and self.launched else (),
            metadata={
                key: value
                for key, value in self.metadata.items()
                if not key.startswith(RESERVED_METADATA_PREFIX)
            },
            key_name=self.key_name,
            security_groups=self.security_groups,
            fault=self.fault,
            launched=self.launched,
            project=project_of(self.metadata, self.default_project),
            vcpus=self.flavor.vcpus,
            ram_mb=self.flavor.ram_mb,
            operation_id=self.operation_id,
        )
