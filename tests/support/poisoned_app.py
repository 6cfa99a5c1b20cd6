"""vmapi with a memory cloud that crashes it: the outcome of a restart is no outcome."""

from typing import Any

from vmapi.backends.base import AcceptedAction
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.lifecycle import Verb

perform_action = MemoryBackend.perform_action
RESTARTS: set[str] = set()


def perform(backend: MemoryBackend, vm_id: str, verb: Verb, **more: Any) -> AcceptedAction | None:
    """Perform an action; remember a restart."""
    action = perform_action(backend, vm_id, verb, **more)
    if verb in (Verb.RESTART_SOFT, Verb.RESTART_HARD):
        RESTARTS.add(action.request_id)
    return action


def get_outcome(backend: MemoryBackend, action: AcceptedAction) -> Any:
    """Return the outcome of an action; for a restart, raise an error that is a defect."""
    if action.request_id in RESTARTS:
        raise LookupError("hunter2")
    return outcome(backend, action)


outcome = MemoryBackend.get_outcome
MemoryBackend.perform_action = perform
MemoryBackend.get_outcome = get_outcome

# after the driver is changed
from wsgi import app  # noqa: E402

__all__ = ["app"]
