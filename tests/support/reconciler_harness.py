"""The memory cloud with scripted failures, and a reconciler on it."""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any, ClassVar

from tests.support.factories import VM_1
from tests.support.fake_clock import Clock
from vmapi.backends.base import AcceptedAction, ActionOutcome
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.access.identity import CallerToken
from vmapi.domain.lifecycle import Action, Status, Verb
from vmapi.domain.operation import (
    CreateOrder,
    CreateWindow,
    NewOperation,
    Operation,
    OperationStatus,
    Step,
)
from vmapi.domain.vm import VM, CreateSpec, VMPatch
from vmapi.errors import VmapiError
from vmapi.services.inventory.observer import CloudObserver
from vmapi.services.reconciler.progress import ReconcileResult
from vmapi.services.reconciler.reconciler import Reconciler
from vmapi.services.reconciler.recovery import create_window
from vmapi.settings.memory import parse_latency
from vmapi.settings.operations import parse_deadlines
from vmapi.store.operations.repository import OperationRepository
from vmapi.store.store import Store

RESPONSE_TIMEOUT = 30


class ScriptedBackend(MemoryBackend):
    """The memory cloud with scripted failures, before a call or after the call took effect.

    `dispatched` counts the requested changes by verb, `accepted` the actions that the cloud
    accepted. `caller_tokens` lists the token of each change in order.
    """

    has_change_feed = False

    def __init__(self, clock: Clock, latency: str = "0") -> None:
        super().__init__(
            latency=parse_latency(latency), clock=clock, sleep=clock.sleep, timeout=RESPONSE_TIMEOUT
        )
        self.dispatched: Counter[Verb] = Counter()
        self.caller_tokens: list[CallerToken | None] = []
        self.accepted: Counter[Verb] = Counter()
        self.before_call: Callable[[], object] = lambda: None
        self._script: dict[str, deque[tuple[bool, VmapiError | None]]] = defaultdict(deque)

    def fail(self, method: str, *errors: VmapiError | None, done: bool = False) -> None:
        """Let the next calls of a method fail, None lets one succeed."""
        self._script[method].extend((done, error) for error in errors)

    def create_vm(
        self, spec: CreateSpec, operation_id: str, *, caller_token: CallerToken | None = None
    ) -> AcceptedAction:
        self.dispatched[Verb.CREATE] += 1
        self.caller_tokens.append(caller_token)
        return self._run_scripted(
            "create", lambda: super(ScriptedBackend, self).create_vm(spec, operation_id)
        )

    def perform_action(
        self, vm_id: str, verb: Verb, *, caller_token: CallerToken | None = None
    ) -> AcceptedAction:
        self.dispatched[verb] += 1
        self.caller_tokens.append(caller_token)
        return self._run_scripted("perform", lambda: self._perform(vm_id, verb))

    def update_vm(
        self, vm_id: str, changes: VMPatch, *, caller_token: CallerToken | None = None
    ) -> None:
        self.dispatched[Verb.UPDATE] += 1
        self.caller_tokens.append(caller_token)
        self._run_scripted("update", lambda: super(ScriptedBackend, self).update_vm(vm_id, changes))

    def get_vm(self, vm_id: str) -> VM:
        return self._run_scripted("get", lambda: super(ScriptedBackend, self).get_vm(vm_id))

    def get_outcome(self, action: AcceptedAction) -> ActionOutcome:
        get_outcome = super().get_outcome
        return self._run_scripted("outcome", lambda: get_outcome(action))

    def find_created_vm(self, operation_id: str) -> AcceptedAction | None:
        return self._run_scripted(
            "find", lambda: super(ScriptedBackend, self).find_created_vm(operation_id)
        )

    def find_action(
        self, vm_id: str, verb: Verb, since: datetime, exclude_request_ids: Collection[str] = ()
    ) -> AcceptedAction | None:
        find = super().find_action
        return self._run_scripted("find", lambda: find(vm_id, verb, since, exclude_request_ids))

    def _perform(self, vm_id: str, verb: Verb) -> AcceptedAction:
        receipt = super().perform_action(vm_id, verb)
        self.accepted[verb] += 1
        return receipt

    def _run_scripted(self, method: str, call: Callable[[], Any]) -> Any:
        self.before_call()
        script = self._script[method]
        done, error = script.popleft() if script else (False, None)
        if error is None:
            return call()
        if done:
            call()
        raise error


@dataclass
class ReconcilerHarness:
    """A store and a reconciler on a scripted cloud, with one clock."""

    clock: Clock
    backend: ScriptedBackend
    store: Store
    operations: OperationRepository
    observer: CloudObserver
    reconciler: Reconciler
    sequence: "count[int]"
    notified_ids: list[str]
    """The operations that were left to the engine."""
    not_started: dict[str, NewOperation] = field(default_factory=dict)
    """The new operations that this harness holds leases of."""

    open_stores: ClassVar[list[Store]] = []
    """The store of the last harness: there is one harness at a time."""

    @classmethod
    def close_stores(cls) -> None:
        """Close the store of the last harness; a fixture does so after each test."""
        while cls.open_stores:
            cls.open_stores.pop().close()

    @classmethod
    def build(cls, latency: str = "0", url: str | None = None) -> "ReconcilerHarness":
        cls.close_stores()
        clock = Clock()
        backend, store = ScriptedBackend(clock, latency), Store(url, 4, clock)
        cls.open_stores.append(store)
        observer = CloudObserver(backend, store, clock)
        notified_ids: list[str] = []
        reconciler = Reconciler(
            backend,
            observer,
            store,
            clock=clock,
            response_timeout=RESPONSE_TIMEOUT,
            deadlines=parse_deadlines(""),
            notify_engine=notified_ids.append,
        )
        return cls(
            clock, backend, store, store.operations, observer, reconciler, count(1), notified_ids
        )

    def add_operation(
        self,
        action: Action,
        *verbs: Verb,
        vm_id: str | None = None,
        spec: CreateSpec | None = None,
        **fields: Any,
    ) -> Operation:
        """Insert a new operation of these verbs; its first `reconcile` dispatches it."""
        operation = Operation(
            id=f"op-{next(self.sequence)}",
            action=action,
            steps=tuple(map(Step, verbs or (Verb(action),))),
            created_at=self.clock(),
            requested_by="anonymous",
            request_id="r",
            vm_id=vm_id,
            **fields,
        )
        self.operations.add(operation)
        vm = replace(VM_1, id=vm_id or "", operation_id=None if vm_id else operation.id)
        if action is Action.CREATE:
            vm = replace(vm, status=Status.BUILDING, task=action.task)
        self.not_started[operation.id] = NewOperation(operation, vm, spec)
        return operation

    def add_create(self, *verbs: Verb, **fields: Any) -> Operation:
        """Insert a new create."""
        flavor, image = self.backend.list_flavors()[0], self.backend.list_images()[0]
        spec = CreateSpec("web-1", flavor.id, image.id, None, {}, None, None, ())
        defaults = {
            "spec": spec,
            "vcpus": flavor.vcpus,
            "ram_mb": flavor.ram_mb,
            "order": CreateOrder(flavor.name, image.name, image.id),
        }
        return self.add_operation(
            Action.CREATE, *(verbs or (Verb.CREATE,)), **{**defaults, **fields}
        )

    def reconcile(
        self, operation: Operation, caller_token: CallerToken | None = None
    ) -> ReconcileResult:
        """Dispatch an operation, or reconcile it once it has started, from its stored state."""
        return self.reconcile_copy(self.reload(operation), caller_token=caller_token)

    def reconcile_copy(
        self,
        operation: Operation,
        observed_vm: VM | None = None,
        caller_token: CallerToken | None = None,
    ) -> ReconcileResult:
        """Dispatch an operation, or reconcile it once it has started, from this copy."""
        new = self.not_started.pop(operation.id, None)
        if new is None:
            return self.reconciler.reconcile(operation, observed_vm)
        new = replace(new, operation=operation, caller_token=caller_token)
        return self.reconciler.dispatch_first(new)

    def start(self, operation: Operation) -> ReconcileResult:
        """Dispatch a new operation and raise the error that ends it."""
        result = self.reconcile_copy(operation)
        result.raise_error()
        return result

    def release(self, operation: Operation) -> None:
        """Give back the lease of a new operation, as if its process had died."""
        del self.not_started[operation.id]
        self.operations.release(operation.id)

    def reload(self, operation: Operation) -> Operation:
        """Return an operation as it is now."""
        return self.operations.get(operation.id)

    def save_finished(self, operation: Operation, status: OperationStatus) -> Operation:
        """Save an operation as finished, and return it."""
        finished = replace(operation, status=status, finished_at=self.clock())
        return self.operations.save(finished).operation

    def create_window(self) -> CreateWindow:
        """Return the window of a create without a response."""
        return create_window(RESPONSE_TIMEOUT, timedelta(0))

    def inventory_vm(self, operation: Operation) -> VM:
        """Return the VM of an operation as the inventory shows it."""
        snapshot = self.store.inventory.get(self.reload(operation).vm_id or "")
        assert snapshot is not None
        return snapshot.vm

    def running_vm(self) -> str:
        """Make a RUNNING VM and return its id; it counts as nothing sent."""
        operation = self.add_create()
        while not self.reconcile(operation).operation.is_finished:
            self.clock.sleep(1)
        self.backend.dispatched.clear()
        vm_id = self.reload(operation).vm_id
        assert self.reload(operation).status is OperationStatus.SUCCEEDED
        assert vm_id is not None
        return vm_id

    def paused_vm(self) -> str:
        """Make a PAUSED VM and return its id."""
        vm_id = self.running_vm()
        self.reconcile(self.add_operation(Action.PAUSE, vm_id=vm_id))
        self.backend.dispatched.clear()
        return vm_id
