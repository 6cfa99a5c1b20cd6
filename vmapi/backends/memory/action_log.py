"""The log of the actions on each instance, as Nova's os-instance-actions.

The cloud records an action when it starts and sets its outcome when it ends. Invariant: the size of
the log is bounded, per instance and by the number of deleted instances.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

from vmapi.backends.base import ActionOutcome
from vmapi.domain.lifecycle import Verb
from vmapi.errors import VMNotFound

MAX_LOGGED_ACTIONS = 100
"""Actions that are logged per instance."""
MAX_DELETED_LOGS = 1000
"""Deleted instances with a log."""


@dataclass(slots=True)
class InstanceAction:
    """An accepted action."""

    verb: Verb
    started_at: datetime
    request_id: str = field(default_factory=lambda: f"req-{uuid4()}")
    outcome: ActionOutcome = ActionOutcome.PENDING


class ActionLog:
    """The actions of every instance.

    As in Nova, the actions of a deleted instance can be read for some time after its deletion.
    """

    def __init__(self) -> None:
        self._actions: dict[str, deque[InstanceAction]] = {}
        self._deleted_ids: deque[str] = deque()

    def record(self, vm_id: str, action: InstanceAction) -> None:
        """Append an action to the log of an instance."""
        self._actions.setdefault(vm_id, deque(maxlen=MAX_LOGGED_ACTIONS)).append(action)

    def mark_deleted(self, vm_id: str) -> None:
        """Record the deletion of an instance, and drop the log of the oldest deleted one."""
        self._deleted_ids.append(vm_id)
        if len(self._deleted_ids) > MAX_DELETED_LOGS:
            del self._actions[self._deleted_ids.popleft()]

    def get_outcome(self, vm_id: str, request_id: str) -> ActionOutcome:
        """Return the outcome of a request; PENDING for an unknown one. Raises VMNotFound."""
        matches = (action for action in self._actions_of(vm_id) if action.request_id == request_id)
        action = next(matches, None)
        return ActionOutcome.PENDING if action is None else action.outcome

    def find_latest(
        self, vm_id: str, verb: Verb, since: datetime, exclude_request_ids: Collection[str]
    ) -> InstanceAction | None:
        """Return the newest action of a verb that started at or after a time, or None.

        Raises VMNotFound.
        """
        matches = (
            action
            for action in reversed(self._actions_of(vm_id))
            if action.verb is verb
            and action.started_at >= since
            and action.request_id not in exclude_request_ids
        )
        return next(matches, None)

    def _actions_of(self, vm_id: str) -> deque[InstanceAction]:
        if vm_id not in self._actions:
            raise VMNotFound(f"Instance {vm_id} could not be found.")
        return self._actions[vm_id]
