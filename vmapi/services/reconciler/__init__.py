"""Reconcile unfinished operations with the cloud, step by step.

`Reconciler` chooses the next action for an operation and saves its result. `StepDispatcher` sends
a step and finds the outcome of a lost call. `OperationPoller` selects the operations that are due.

The protocol of lost responses
------------------------------
A call may change something in the cloud although no response arrives: a timeout passes, a
connection breaks, or this process dies. Each step has a state, saved before and after the call.
States that follow one another without a call are saved together, with the VM as observed::

    planned ──1──► dispatching ──2──► accepted ──3──► done
       ▲                │
       └───────4────────┘

1. Before the call. A crash or a lost response leaves the step here: its outcome is unknown.
2. The cloud has accepted the step. The id of Nova's request is saved, to evaluate the outcome.
3. The outcome is success. An update has no outcome to wait for and goes from dispatching to done.
4. The cloud has no trace of the step and none can arrive any more, or repeating it does no harm.

A step in `dispatching` is recovered by verb:

=======================  ==========================================  ==========================
step                     lookup                                      not found after the window
=======================  ==========================================  ==========================
create                   the tag of the operation on a server        fails; never sent again
start, stop, restart, …  Nova's instance actions since the request,  back to planned
                         without the request ids of other steps
update, delete           none: sent again at once                    -
delegated first step     as above; an update by comparing the VM     fails; never sent again
=======================  ==========================================  ==========================

The window is the response timeout plus `CREATE_RECOVERY_WINDOW` or `ACTION_RECOVERY_WINDOW`.

Invariants
----------
- A process sends a step only after it has saved `dispatching` itself, under the lease of the
  operation, and at most `ACTION_RECOVERY_WINDOW` ago. An older step goes back to planned: another
  process may have recovered it.
- Every save compares the revision. A process that has lost its lease therefore sends nothing.
- Only the process of the request can send a create or a delegated first step: the create
  parameters and the caller's token are in no database. Another process fails the operation.
- BackendUnavailable means that nothing was sent. BackendTimeout means that the outcome is unknown:
  the operation stays unfinished, and the engine recovers it.
- A deadline ends no operation in `dispatching` before its window has passed.
- A failed operation keeps its idempotency key if it may have changed anything in the cloud, and
  after a failure of the cloud (BackendError): a lasting failure does not make clients repeat it.
"""
