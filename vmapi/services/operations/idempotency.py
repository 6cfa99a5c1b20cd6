"""Carry out each change once per `Idempotency-Key`.

All changes go through `IdempotencyService`. A key is bound to its operation by the insert of the
operation: a unique index decides between concurrent requests. A repeated request gets the result
of the first one. The key of an operation that has changed nothing is free again.
"""

from collections.abc import Callable
from dataclasses import replace

from vmapi import errors
from vmapi.domain.access.caller import Caller
from vmapi.domain.operation import NewOperation, Operation
from vmapi.services.operations import preconditions
from vmapi.services.operations.results import ChangeResult, ChangeResultBuilder, response_error
from vmapi.services.operations.submission import OperationSubmitter
from vmapi.services.operations.waiting import OperationWaiter, is_finished
from vmapi.store.conflicts import IdempotencyKeyConflict
from vmapi.store.store import Store
from vmapi.telemetry.tracing.tracer import TRACER

FIRST_RESPONSE_TIMEOUT = 10
"""Seconds that a repeated request waits for the response to the first one."""


class IdempotencyService:
    """Submits the operation of a request, or returns the result of the request it repeats."""

    def __init__(
        self,
        store: Store,
        submitter: OperationSubmitter,
        waiter: OperationWaiter,
        results: ChangeResultBuilder,
    ) -> None:
        self._store = store
        self._submitter = submitter
        self._waiter = waiter
        self._results = results

    def run(self, caller: Caller, build: Callable[[], NewOperation]) -> ChangeResult:
        """Build and submit an operation once for the caller's key.

        `build` reads only. Raises the errors of `build` and `OperationSubmitter.submit`,
        IdempotencyKeyReused, IdempotencyInProgress.
        """
        if result := self._replay(caller):
            return result
        try:
            with TRACER.span("submit operation") as span:
                new = build()
                span.set_attribute("vmapi.operation.id", new.operation.id)
                span.set_attribute("vmapi.operation.action", new.operation.action)
                return self._submitter.submit(new, caller)
        except IdempotencyKeyConflict:
            # a concurrent request with the same key was first
            return self.run(caller, build)
        except errors.PreconditionFailed:
            # the change of the VM may be that of the first request
            if result := self._replay(caller):
                return result
            raise
        except errors.BackendTimeout as error:
            if "operation_id" in error.extra:
                raise
            # only reads have preceded
            raise errors.BackendUnavailable(f"{error.detail} Nothing was sent.") from error

    def _replay(self, caller: Caller) -> ChangeResult | None:
        """Return the result of the request that this one repeats, or None for a new request."""
        operation = self._find_by_key(caller)
        if operation is None:
            return None
        try:
            operation = self._waiter.wait_until(operation, _is_accepted, FIRST_RESPONSE_TIMEOUT)
        except errors.OperationNotFound:
            # discarded before anything was sent, which frees the key
            return None
        if not _is_accepted(operation):
            detail = "The first request with this idempotency key is still in progress."
            raise errors.IdempotencyInProgress(detail, operation_id=operation.id)
        if operation.key is None:
            return None
        operation = self._waiter.wait_until(operation, is_finished, caller.wait_seconds)
        try:
            return replace(self._results.build(operation, None, caller.scope), replayed=True)
        except errors.VmapiError as error:
            # a VM that cannot be read is not the outcome of the operation
            is_failure = isinstance(error, errors.BackendFailure | errors.StoreUnavailable)
            error.replayed = not is_failure or response_error(operation) is not None
            raise

    def _find_by_key(self, caller: Caller) -> Operation | None:
        """Return the operation of the caller's key. Raises IdempotencyKeyReused."""
        operation = self._store.operations.find_by_key(caller.key) if caller.key else None
        if operation is None or caller.key is None or operation.key is None:
            return None
        preconditions.check_fingerprint(caller.key, operation.key.fingerprint)
        return operation


def _is_accepted(operation: Operation) -> bool:
    return operation.is_finished or operation.is_accepted
