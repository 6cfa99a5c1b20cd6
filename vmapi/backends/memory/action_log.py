"""What has been asked of machines and how it went: Nova's instance actions."""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

from vmapi.backends.base import ActionOutcome
from vmapi.domain.lifecycle import Verb
from vmapi.errors import VMNotFound

MAX_LOGGED_ACTIONS = 100
"""How many actions are remembered of one machine."""
MAX_DELETED_LOGS = 1000
"""Of how many deleted machines the actions are remembered."""


@dataclass(slots=True)
class InstanceAction:
    """One call that was accepted, by its request id."""

    verb: Verb
    started_at: datetime
    request_id: str = field(default_factory=lambda: f"req-{uuid4()}")
    outcome: ActionOutcome = ActionOutcome.PENDING


class ActionLog:
    """The actions of every machine. As in Nova they outlive it for a while."""

    def __init__(self) -> None:
        self._actions: dict[str, deque[InstanceAction]] = {}
        self._deleted_ids: deque[str] = deque()

    def record(self, vm_id: str, action: InstanceAction) -> None:
        """Remember an action."""
        self._actions.setdefault(vm_id, deque(maxlen=MAX_LOGGED_ACTIONS)).append(action)

    def mark_deleted(self, vm_id: str) -> None:
        """Note that a machine is gone, and forget those that have been gone for long."""
        self._deleted_ids.append(vm_id)
        if len(self._deleted_ids) > MAX_DELETED_LOGS:
            del self._actions[self._deleted_ids.popleft()]

    def get_outcome(self, vm_id: str, request_id: str) -> ActionOutcome:
        """Tell how a request went; one not heard of may still come. Raises VMNotFound."""
        found = (act.outcome for act in self._actions_of(vm_id) if act.request_id == request_id)
        return next(found, ActionOutcome.PENDING)

    def find_latest(
        self, vm_id: str, verb: Verb, since: datetime, exclude_request_ids: Collection[str]
    ) -> InstanceAction | None:
        """Return the last action of a verb begun at or after a time, but for those that are known.

        Raises VMNotFound.
        """
        found = (
            a for a in reversed(self._actions_of(vm_id)) if a.verb is verb and a.started_at >= since
        )
        return next(
            (action for action in found if action.request_id not in exclude_request_ids), None
        )

    def _actions_of(self, vm_id: str) -> deque[InstanceAction]:
        if vm_id not in self._actions:
            raise VMNotFound(f"Instance {vm_id} could not be found.")
        return self._actions[vm_id]
