"""Save the new state of an operation, with its VM as the cloud has shown it.

One transaction holds the state, the observation of the VM and all that follows from the end of an
operation: its name, the overlay, the audit entry and the events.
"""

from dataclasses import dataclass, replace

import structlog
from sqlalchemy.exc import IntegrityError

from vmapi.domain.observation import Observation
from vmapi.domain.operation import Operation
from vmapi.domain.snapshot import VMSnapshot
from vmapi.domain.vm import VM
from vmapi.errors import StoreUnavailable
from vmapi.store.conflicts import OperationRevisionConflict
from vmapi.store.database import Database
from vmapi.store.mappers import operation as mapper
from vmapi.store.operations import transitions
from vmapi.store.operations.finish_metrics import record_finished

log = structlog.get_logger("vmapi.store")


@dataclass(frozen=True, slots=True)
class SavedOperation:
    """A saved operation, and the VM that the same transaction has saved."""

    operation: Operation
    """The operation with its new revision."""
    vm: VMSnapshot | None = None
    """The VM of the operation, where the transaction has read or written its row."""
    has_saved_observation: bool = False
    """Whether every VM of the observation has a row that agrees with it."""


class OperationSaver:
    """Saves operations in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(
        self, operation: Operation, observation: Observation | None, expected_vm: VM | None
    ) -> SavedOperation:
        """Save an operation; `OperationRepository.save` has the contract."""
        saved = replace(operation, revision=operation.revision + 1)
        try:
            return self._save(saved, observation, expected_vm)
        except IntegrityError:
            # the VM has another operation, which may be finished by now
            self._check_no_other(saved)
        except (StoreUnavailable, OperationRevisionConflict):
            raise
        except Exception as error:
            if observation is None:
                raise
            # the next read of the VM says which VM it is
            reason = str(getattr(error, "orig", error))
            log.error("observation cannot be stored", operation_id=operation.id, reason=reason)
            observation = None
        return self._save(saved, observation, expected_vm)

    def _save(
        self, saved: Operation, observation: Observation | None, expected_vm: VM | None
    ) -> SavedOperation:
        # a lost `accepted` leaves `dispatching`, and recovery finds the request in the cloud
        durable = saved.is_finished or not saved.is_awaiting_outcome
        with self._database.write(durable=durable) as connection:
            params = mapper.update_params(saved)
            if connection.execute(mapper.UPDATE_OPERATION, params).rowcount == 0:
                raise OperationRevisionConflict(saved.id)
            vm, is_applied = transitions.on_saved(connection, saved, observation, expected_vm)
        if saved.is_finished:
            record_finished([saved])
        return SavedOperation(saved, vm, is_applied)

    def _check_no_other(self, operation: Operation) -> None:
        with self._database.read() as connection:
            if transitions.has_other_unfinished(connection, operation):
                raise OperationRevisionConflict(operation.id)
