"""Nova's records of actions: the outcome of an action, and the search for one.

Nova API "Servers actions". The policy of a cloud may hide the records (403). Then the server alone
decides: Nova sets the task of a server before it accepts an action, so a server without a task has
none in progress.
"""

from collections.abc import Callable, Collection
from datetime import datetime

import structlog

from vmapi.backends.base import AcceptedAction, ActionOutcome
from vmapi.backends.openstack.failures.errors import parsing
from vmapi.backends.openstack.failures.exceptions import NovaItemNotFound
from vmapi.backends.openstack.servers import actions
from vmapi.backends.openstack.servers.queries import ServerQueries
from vmapi.domain.lifecycle import TARGET_STATUS_BY_VERB, Action, Verb
from vmapi.domain.vm import VM
from vmapi.errors import Forbidden, VMNotFound

log = structlog.get_logger("vmapi.backend")


class ActionRecords:
    """Reads the records of actions; `get_vm` reads a VM."""

    def __init__(self, queries: ServerQueries, get_vm: Callable[[str], VM]) -> None:
        self._queries = queries
        self._get_vm = get_vm
        self._is_refusal_logged = False

    def get_outcome(self, action: AcceptedAction) -> ActionOutcome:
        """Return the outcome of an action; PENDING until Nova has recorded it.

        SUCCEEDED where the record is hidden: the caller compares the status of the VM.
        """
        if not action.request_id:
            return ActionOutcome.SUCCEEDED
        try:
            record = self._queries.get_instance_action(action.vm_id, action.request_id)
        except (VMNotFound, NovaItemNotFound):
            self._queries.get_server(action.vm_id)
            return ActionOutcome.PENDING
        except Forbidden as error:
            self._log_refusal(error)
            return ActionOutcome.SUCCEEDED
        with parsing("compute"):
            return actions.outcome_of(record)

    def find(
        self, vm_id: str, verb: Verb, since: datetime, exclude_request_ids: Collection[str]
    ) -> AcceptedAction | None:
        """Find the newest action of a verb. Raises VMNotFound.

        Where the records are hidden, a VM that has the target status of the verb, or its task,
        counts as found. A restart leads to the status before it, so that only its task counts.
        """
        try:
            records = self._queries.list_instance_actions(vm_id)
        except Forbidden as error:
            self._log_refusal(error)
            return AcceptedAction(vm_id, "") if self._shows(self._get_vm(vm_id), verb) else None
        names = actions.instance_action_names(verb)
        with parsing("compute"):
            request_id = actions.find_newest(records, names, since, exclude_request_ids)
        return AcceptedAction(vm_id, request_id) if request_id else None

    def _shows(self, vm: VM, verb: Verb) -> bool:
        if vm.task is not None:
            return vm.task is Action(verb.partition("_")[0]).task
        is_restart = verb in (Verb.RESTART_SOFT, Verb.RESTART_HARD)
        return not is_restart and vm.status is TARGET_STATUS_BY_VERB.get(verb)

    def _log_refusal(self, error: Forbidden) -> None:
        if not self._is_refusal_logged:
            self._is_refusal_logged = True
            log.warning(
                "records of actions are hidden: operations are judged by the VM alone",
                reason=error.detail,
            )
