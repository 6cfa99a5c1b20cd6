"""One virtual machine of this cloud."""

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
from vmapi.domain.catalog import Flavor
from vmapi.domain.lifecycle import Verb
from vmapi.domain.project import project_of
from vmapi.domain.vm import RESERVED_METADATA_PREFIX, VM, Address, Fault
from vmapi.errors import InvalidState, TaskInProgress


@dataclass(slots=True)
class PendingAction:
    """What is under way with a machine; with a `fault` it will fail."""

    verb: Verb
    fault: Fault | None
    actions: list[InstanceAction] = field(default_factory=list)

    def set_outcome(self, outcome: ActionOutcome) -> None:
        """Tell all who asked for it how it went."""
        for action in self.actions:
            action.outcome = outcome


@dataclass(slots=True, kw_only=True)
class Instance:
    """A machine as it is; what leaves it is a copy."""

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
        """Refuse a verb as Nova does: by state, then by task, then because it never ran.

        Raises InvalidState, TaskInProgress.
        """
        if verb is Verb.DELETE:
            return
        refused = f"Cannot '{verb}' instance {self.id} while it is in"
        if self.state not in ALLOWED_STATES[verb]:
            raise InvalidState(f"{refused} vm_state {NOVA_VM_STATES[self.state]}")
        if self.pending:
            raise TaskInProgress(f"{refused} task_state {NOVA_TASK_STATES[self.pending.verb]}")
        if not self.launched:
            raise InvalidState(f"Instance {self.id} is not ready")

    def complete(self, pending: PendingAction, at: datetime) -> None:
        """Let the change that is under way come to its end."""
        self.pending = None
        self.updated_at = at
        if pending.fault is None:
            self.state, self.fault, self.launched = STATE_AFTER[pending.verb], None, True
            self.console.print_action(pending.verb)
        elif pending.verb in VERBS_ENDING_IN_ERROR:
            self.state, self.fault = InstanceState.ERROR, pending.fault

    def to_vm(self) -> VM:
        """Return what a client sees."""
        verb = self.pending and self.pending.verb
        rebooting = verb in REBOOT_STATUSES and self.state is InstanceState.ACTIVE
        return VM(
            id=self.id,
            name=self.name,
            flavor=self.flavor.name,
            image=self.image,
            status=STATUS_BY_STATE[self.state],
            created_at=self.created_at,
            updated_at=self.updated_at,
            backend_status=REBOOT_STATUSES[verb] if verb and rebooting else self.state.value,
            task=TASK_BY_VERB[verb] if verb else None,
            addresses=(self.address,) if self.address and self.launched else (),
            metadata={
                k: v for k, v in self.metadata.items() if not k.startswith(RESERVED_METADATA_PREFIX)
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
