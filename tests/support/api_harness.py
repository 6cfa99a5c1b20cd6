"""What a test of the API holds in its hands: the app, its cloud and its time."""

from dataclasses import dataclass
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.fake_clock import Clock
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.services.container import Services

BASE = "/api/v1"
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
CREATE_BODY = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"}


@dataclass
class ApiHarness:
    """An app on the memory cloud; nothing happens in it but what a test lets happen."""

    app: Flask
    backend: MemoryBackend
    clock: Clock

    @property
    def client(self) -> FlaskClient:
        """A client of the app."""
        return self.app.test_client()

    @property
    def services(self) -> Services:
        """What the app's handlers call."""
        services: Services = self.app.extensions["vmapi"]
        return services

    def call(self, method: str, path: str, **kwargs: Any) -> TestResponse:
        """Send a request below the base path."""
        return self.client.open(BASE + path, method=method, **kwargs)

    def get_json(self, path: str, **kwargs: Any) -> Any:
        """Return the JSON of a GET that succeeds."""
        response = self.call("GET", path, **kwargs)
        assert response.status_code == 200, response.text
        return response.json

    def post(self, path: str, body: Any = None) -> TestResponse:
        """Send a POST, with a JSON body if there is one."""
        return self.call("POST", path, **({} if body is None else {"json": body}))

    def create(self, name: str = "web-1", **fields: Any) -> Any:
        """Return a new VM, as it is answered with, settled or not."""
        response = self.post("/vms", {**CREATE_BODY, "name": name, **fields})
        assert response.status_code in (201, 202), response.text
        return response.json

    def create_running(self, name: str = "web-1", **fields: Any) -> str:
        """Make a VM, let it come to run, and return its id."""
        vm = self.create(name, start=True, **fields)
        self.run_until_settled()
        return str(vm["id"])

    def post_action(self, vm_id: str, action: str) -> TestResponse:
        """Send an action."""
        return self.post(f"/vms/{vm_id}/{action}")

    def get_vm(self, vm_id: str) -> Any:
        """Return a VM as it is now."""
        return self.get_json(f"/vms/{vm_id}")

    def get_operation(self, response: TestResponse) -> Any:
        """Return the operation that an answer names, as it is now."""
        found = self.client.get(response.headers["Operation-Location"])
        assert found.status_code == 200
        return found.json

    def reconcile_once(self) -> None:
        """Let the engine look once at everything that is unfinished."""
        for operation in self.services.operations.list_leased():
            self.services.operations.reconcile(operation)

    def advance_time(self, seconds: float) -> None:
        """Let time go on, then the engine look."""
        self.clock.sleep(seconds)
        self.reconcile_once()

    def run_until_settled(self) -> None:
        """Let everything come to its end."""
        while self.services.operations.list_leased():
            self.advance_time(1)
