"""Engines reconcile the unfinished operations in the background.

A request dispatches the first step of its operation itself. `OperationService.reconcile` runs for
the rest of the operation, in an engine of any process:

- `EngineThread` scans for due operations every `ENGINE_TICK` while there are unfinished ones, at
  once after a notification, and every `IDLE_SCAN_INTERVAL` otherwise. The idle scan finds the
  operations of a process that has died, when their leases have expired.
- VMAPI_ENGINE=thread: each serving process has an `EngineThread`; a request notifies its own.
- VMAPI_ENGINE=worker: worker processes have it. `ExternalEngine` notifies no one: an idle scan
  finds a new operation.
- VMAPI_ENGINE=celery: as worker, but `CeleryNotifier` sends a message that wakes one worker.

Only the rows in the database say which operations exist, and leases say which process reconciles
one. A lost, late or repeated notification therefore does no harm. The engine also calls the
periodic tasks.
"""
