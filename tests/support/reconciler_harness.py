"""The memory cloud with a script of failures, and what moves operations on it."""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from typing import Any

from tests.support.fake_clock import Clock
from vmapi.backends.base import AcceptedAction, ActionOutcome
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.identity import CallerToken
from vmapi.domain.lifecycle import Action, Verb
from vmapi.domain.operation import Operation, OperationStatus, Step
from vmapi.domain.vm import VM, CreateSpec, VMPatch
from vmapi.errors import VmapiError
from vmapi.services.inventory.observer import CloudObserver
from vmapi.services.reconciler.progress import ReconcileResult
from vmapi.services.reconciler.reconciler import Reconciler
from vmapi.settings.memory import parse_latency
from vmapi.settings.operations import parse_deadlines
from vmapi.store.operations.repository import OperationRepository
from vmapi.store.store import Store

RESPONSE_TIMEOUT = 30

OPEN_STORES: list[Store] = []
"""The store of the desk that was made last: there is one desk at a time."""


class ScriptedBackend(MemoryBackend):
    """Fails as it is told: instead of doing what it is asked, or after it has done it.

    `sent` counts what it was asked to change, by verb, `taken_on` the actions it did not refuse,
    `lent` is on whose behalf, in order.
    """

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
    """A store and a controller on a scripted cloud, on one clock."""

    clock: Clock
    backend: ScriptedBackend
    store: Store
    operations: OperationRepository
    observer: CloudObserver
    reconciler: Reconciler
    sequence: "count[int]"
    not_started: set[str] = field(default_factory=set)

    @classmethod
    def build(cls, latency: str = "0") -> "ReconcilerHarness":
        clock = Clock()
        while OPEN_STORES:
            OPEN_STORES.pop().close()
        backend, kept = ScriptedBackend(clock, latency), Store(None, 4, clock)
        OPEN_STORES.append(kept)
        looks = CloudObserver(backend, kept, clock)
        controller = Reconciler(
            backend,
            looks,
            kept,
            clock=clock,
            response_timeout=RESPONSE_TIMEOUT,
            deadlines=parse_deadlines(""),
        )
        return cls(clock, backend, kept, kept.operations, looks, controller, count(1))

    def add_operation(
        self, action: Action, *verbs: Verb, vm_id: str | None = None, **fields: Any
    ) -> Operation:
        """Keep a new operation whose plan is these verbs; held until it is first carried on."""
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
        self.not_started.add(operation.id)
        return operation

    def add_create(self, *verbs: Verb, **fields: Any) -> Operation:
        """Keep a new create."""
        flavor, image = self.backend.list_flavors()[0], self.backend.list_images()[0]
        spec = CreateSpec("web-1", flavor.id, image.id, None, {}, None, None, ())
        return self.add_operation(Action.CREATE, *(verbs or (Verb.CREATE,)), spec=spec, **fields)

    def reconcile(
        self, operation: Operation, caller_token: CallerToken | None = None
    ) -> ReconcileResult:
        """Carry an operation on from where it is now, in the process that took it on."""
        now = replace(self.operations.get(operation.id), spec=operation.spec)
        return self.reconcile_copy(now, caller_token=caller_token)

    def reconcile_copy(
        self,
        operation: Operation,
        snapshot: VM | None = None,
        caller_token: CallerToken | None = None,
    ) -> ReconcileResult:
        """Carry an operation on from where it was when this copy of it was made."""
        fresh = operation.id in self.not_started
        self.not_started.discard(operation.id)
        return self.reconciler.reconcile(
            operation, snapshot, lease_held=fresh, caller_token=caller_token
        )

    def release(self, operation: Operation) -> None:
        """Leave a new operation to whoever takes it."""
        self.not_started.discard(operation.id)
        with self.operations.lease(operation.id, lease_held=True):
            pass

    def reload(self, operation: Operation) -> Operation:
        """Return an operation as it is now."""
        return self.operations.get(operation.id)

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
