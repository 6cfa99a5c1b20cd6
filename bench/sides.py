"""Two ways to change a VM: through the driver alone, and through the whole app."""

import json
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Protocol

from flask import Flask
from werkzeug.test import EnvironBuilder, run_wsgi_app

from vmapi.backends.base import AcceptedAction, Backend
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import CreateSpec

CHANGES = ("create", "stop", "start", "delete")
"""The life of one VM, in the order in which it is measured."""


class Target(Protocol):
    """One way to change a VM, which is made by the first change and gone with the last."""

    name: str

    def prepare(self, change: str) -> Callable[[], object]:
        """Return the call that asks for a change and gets the answer."""
        ...

    def settle(self) -> None:
        """Find out that the change has been made."""
        ...


class DriverTarget:
    """The driver alone."""

    name = "the driver alone"

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._spec = CreateSpec(
            name="bench-driver",
            flavor_id=backend.list_flavors()[0].id,
            image_id=backend.list_images()[0].id,
            network_id=backend.list_networks()[0].id,
            metadata={},
            user_data=None,
            key_name=None,
            security_groups=(),
        )
        self._accepted = AcceptedAction("", "")
        self._change = ""

    def prepare(self, change: str) -> Callable[[], object]:
        """Have it done, without looking whether it may be."""
        self._change = change
        return self._create if change == "create" else self._perform

    def settle(self) -> None:
        """Poll once, and read the record of an action."""
        self._backend.list_changed_since(datetime.now(UTC))
        if self._change in ("start", "stop"):
            self._backend.get_outcome(self._accepted)

    def _create(self) -> None:
        self._accepted = self._backend.create_vm(self._spec, str(uuid.uuid4()))

    def _perform(self) -> None:
        vm_id, verb = self._accepted.vm_id, Verb(self._change)
        self._accepted = self._backend.perform_action(vm_id, verb)


class AppTarget:
    """A request to the app, from its WSGI environment to the last byte of the answer.

    Its engine is stopped: its ticks are made by `settle`, and the sync's before a request, in this
    thread.
    """

    def __init__(self, name: str, app: Flask, *, keyed: bool) -> None:
        self.name = name
        self._app = app
        self._keyed = keyed
        self._operations = app.extensions["vmapi"].operations
        self._tasks = app.extensions["vmapi"].chores
        self._vm_id = ""
        self._response: tuple[Iterable[bytes], str, Any] = ((), "", None)
        app.extensions["vmapi"].engine.stop()

    def prepare(self, change: str) -> Callable[[], object]:
        """Make the request; calling what is returned sends it."""
        for chore in ("sweep", "sync-1"):
            self._tasks[chore]()
        headers = [("Idempotency-Key", str(uuid.uuid4()))] if self._keyed else []
        environ = self._builder(change, headers).get_environ()

        def send() -> None:
            self._response = run_wsgi_app(self._app, environ, buffered=True)
            if not self._response[1].startswith("202"):
                raise RuntimeError(b"".join(self._response[0]))

        return send

    def settle(self) -> None:
        """Do what the engine does in a tick, until nothing is left."""
        while mine := self._operations.list_leased():
            for ready in self._operations.list_due(mine):
                self._operations.reconcile(ready.operation, ready.vm)

    def _builder(self, change: str, headers: list[tuple[str, str]]) -> EnvironBuilder:
        if change == "create":
            body = {
                "name": f"bench-{self.name}",
                "flavor": "m1.tiny",
                "image": "cirros",
                "start": True,
            }
            return EnvironBuilder("/api/v1/vms", method="POST", json=body, headers=headers)
        if answered := b"".join(self._response[0]):
            self._vm_id = json.loads(answered)["id"]
        path = f"/api/v1/vms/{self._vm_id}"
        if change == "delete":
            return EnvironBuilder(path, method="DELETE", headers=headers)
        return EnvironBuilder(f"{path}/{change}", method="POST", headers=headers)
