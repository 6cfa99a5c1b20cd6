"""One virtual machine of this cloud."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from vmapi.backends.base import Outcome, Receipt
from vmapi.backends.memory.action_log import Action
from vmapi.backends.memory.console import Console
from vmapi.backends.memory.networks import Subnet
from vmapi.backends.memory.states import (
    ALLOWED,
    BREAKING,
    GOALS,
    REBOOTING,
    STATUSES,
    TASK_STATES,
    TASKS,
    VM_STATES,
    State,
)
from vmapi.domain.catalog import Flavor
from vmapi.domain.lifecycle import Verb
from vmapi.domain.project import owner
from vmapi.domain.vm import RESERVED_PREFIX, VM, Address, Fault
from vmapi.errors import InvalidState, TaskInProgress


@dataclass(slots=True)
class Change:
    """What is under way with a machine; with a `fault` it will fail."""

    verb: Verb
    fault: Fault | None
    actions: list[Action] = field(default_factory=list)

    def settle(self, outcome: Outcome) -> None:
        """Tell all who asked for it how it went."""
        for action in self.actions:
            action.outcome = outcome


@dataclass(slots=True, kw_only=True)
class Machine:
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
    console: Console
    created_at: datetime
    updated_at: datetime
    state: State = State.BUILD
    launched: bool = False
    fault: Fault | None = None
    change: Change | None = None
    receipt: Receipt | None = None

    def check(self, verb: Verb) -> None:
        """Refuse a verb as Nova does: by state, then by task, then because it never ran.

        Raises InvalidState, TaskInProgress.
        """
        if verb is Verb.DELETE:
            return
        refused = f"Cannot '{verb}' instance {self.id} while it is in"
        if self.state not in ALLOWED[verb]:
            raise InvalidState(f"{refused} vm_state {VM_STATES[self.state]}")
        if self.change:
            raise TaskInProgress(f"{refused} task_state {TASK_STATES[self.change.verb]}")
        if not self.launched:
            raise InvalidState(f"Instance {self.id} is not ready")

    def end(self, change: Change, at: datetime) -> None:
        """Let the change that is under way come to its end."""
        self.change = None
        self.updated_at = at
        if change.fault is None:
            self.state, self.fault, self.launched = GOALS[change.verb], None, True
            self.console.show(change.verb)
        elif change.verb in BREAKING:
            self.state, self.fault = State.ERROR, change.fault

    def shown(self) -> VM:
        """Return what a client sees."""
        verb = self.change and self.change.verb
        rebooting = verb in REBOOTING and self.state is State.ACTIVE
        return VM(
            id=self.id,
            name=self.name,
            flavor=self.flavor.name,
            image=self.image,
            status=STATUSES[self.state],
            created_at=self.created_at,
            updated_at=self.updated_at,
            backend_status=REBOOTING[verb] if verb and rebooting else self.state.value,
            task=TASKS[verb] if verb else None,
            addresses=(self.address,) if self.address and self.launched else (),
            metadata={k: v for k, v in self.metadata.items() if not k.startswith(RESERVED_PREFIX)},
            key_name=self.key_name,
            security_groups=self.security_groups,
            fault=self.fault,
            launched=self.launched,
            project=owner(self.metadata, self.default_project),
            vcpus=self.flavor.vcpus,
            ram_mb=self.flavor.ram_mb,
            operation_id=self.operation_id,
        )
