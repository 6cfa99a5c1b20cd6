"""The two targets of a measurement: the driver alone, and the whole app."""

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
"""The changes in the life of one VM, in order."""

ALL_CHANGES = (
    *("create", "stop", "start", "restart", "pause", "resume"),
    *("update", "rename", "delete"),
)
"""Every kind of change of one VM, in an order that its status allows."""


PATCHES: dict[str, dict[str, Any]] = {
    "update": {"metadata": {"tier": "web"}},
    "rename": {"name": "bench-renamed"},
}
"""The bodies of the changes of name and metadata."""


class Target(Protocol):
    """A way to change a VM. The first change creates the VM, the last one deletes it."""

    name: str

    def prepare(self, change: str) -> Callable[[], object]:
        """Return a function that requests a change and gets the response."""
        ...

    def settle(self) -> None:
        """Run until the change is complete."""
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
        """Return a function that sends the change, without checks."""
        self._change = change
        return self._create if change == "create" else self._perform

    def settle(self) -> None:
        """Poll once, and read the outcome of an action."""
        self._backend.list_changed_since(datetime.now(UTC))
        if self._change in ("start", "stop"):
            self._backend.get_outcome(self._accepted)

    def _create(self) -> None:
        self._accepted = self._backend.create_vm(self._spec, str(uuid.uuid4()))

    def _perform(self) -> None:
        vm_id, verb = self._accepted.vm_id, Verb(self._change)
        self._accepted = self._backend.perform_action(vm_id, verb)


class AppTarget:
    """The app, from the WSGI environment of a request to the last byte of the response.

    The engine is stopped. `settle` runs its scans, and `prepare` runs the sync, in this thread.
    """

    def __init__(self, name: str, app: Flask, *, keyed: bool) -> None:
        self.name = name
        self._app = app
        self._keyed = keyed
        self._operations = app.extensions["vmapi"].operations
        self._tasks = app.extensions["vmapi"].periodic_tasks
        self._vm_id = ""
        self._response: tuple[Iterable[bytes], str, Any] = ((), "", None)
        app.extensions["vmapi"].engine.stop()

    def prepare(self, change: str) -> Callable[[], object]:
        """Build the request; return a function that sends it."""
        self.sync()
        headers = [("Idempotency-Key", str(uuid.uuid4()))] if self._keyed else []
        environ = self._builder(change, headers).get_environ()

        def send() -> None:
            self._response = run_wsgi_app(self._app, environ, buffered=True)
            if not self._response[1].startswith("20"):
                raise RuntimeError(b"".join(self._response[0]))

        return send

    def sync(self) -> None:
        """Sync the inventory with a cloud that has no change feed."""
        for name in ("full-sync", "incremental-sync"):
            if name in self._tasks:
                self._tasks[name]()

    def settle(self) -> None:
        """Run scans of the engine until all operations are finished."""
        while leased := self._operations.list_leased():
            for due in self._operations.list_due(leased):
                self._operations.reconcile(due.operation, due.vm)

    def _builder(self, change: str, headers: list[tuple[str, str]]) -> EnvironBuilder:
        if change == "create":
            request = {
                "name": f"bench-{self.name}",
                "flavor": "m1.tiny",
                "image": "cirros",
                "start": True,
            }
            return EnvironBuilder("/api/v1/vms", method="POST", json=request, headers=headers)
        if body := b"".join(self._response[0]):
            self._vm_id = json.loads(body)["id"]
        path = f"/api/v1/vms/{self._vm_id}"
        if change == "delete":
            return EnvironBuilder(path, method="DELETE", headers=headers)
        if patch := PATCHES.get(change):
            return EnvironBuilder(path, method="PATCH", json=patch, headers=headers)
        return EnvironBuilder(f"{path}/{change}", method="POST", headers=headers)
