"""What has been asked of machines and how it went: Nova's instance actions."""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

from vmapi.backends.base import Outcome
from vmapi.domain.lifecycle import Verb
from vmapi.errors import VMNotFound

KEPT = 100
"""How many actions are remembered of one machine."""
KEPT_DELETED = 1000
"""Of how many deleted machines the actions are remembered."""


@dataclass(slots=True)
class Action:
    """One call that was accepted, by its request id."""

    verb: Verb
    begun_at: datetime
    request_id: str = field(default_factory=lambda: f"req-{uuid4()}")
    outcome: Outcome = Outcome.PENDING


class Ledger:
    """The actions of every machine. As in Nova they outlive it for a while."""

    def __init__(self) -> None:
        self._actions: dict[str, deque[Action]] = {}
        self._deleted: deque[str] = deque()

    def record(self, vm_id: str, action: Action) -> None:
        """Remember an action."""
        self._actions.setdefault(vm_id, deque(maxlen=KEPT)).append(action)

    def retire(self, vm_id: str) -> None:
        """Note that a machine is gone, and forget those that have been gone for long."""
        self._deleted.append(vm_id)
        if len(self._deleted) > KEPT_DELETED:
            del self._actions[self._deleted.popleft()]

    def outcome(self, vm_id: str, request_id: str) -> Outcome:
        """Tell how a request went; one not heard of may still come. Raises VMNotFound."""
        found = (act.outcome for act in self._of(vm_id) if act.request_id == request_id)
        return next(found, Outcome.PENDING)

    def latest(
        self, vm_id: str, verb: Verb, since: datetime, known: Collection[str]
    ) -> Action | None:
        """Return the last action of a verb begun at or after a time, but for those that are known.

        Raises VMNotFound.
        """
        found = (a for a in reversed(self._of(vm_id)) if a.verb is verb and a.begun_at >= since)
        return next((action for action in found if action.request_id not in known), None)

    def _of(self, vm_id: str) -> deque[Action]:
        if vm_id not in self._actions:
            raise VMNotFound(f"Instance {vm_id} could not be found.")
        return self._actions[vm_id]
