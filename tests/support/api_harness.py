"""The harness of the API tests: the app, its cloud and its clock."""

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
    """An app on the memory cloud; its engine and its clock move only when a test says so."""

    app: Flask
    backend: MemoryBackend
    clock: Clock

    @property
    def client(self) -> FlaskClient:
        """Return a new client of the app."""
        return self.app.test_client()

    @property
    def services(self) -> Services:
        """Return the services of the app."""
        services: Services = self.app.extensions["vmapi"]
        return services

    def call(self, method: str, path: str, **kwargs: Any) -> TestResponse:
        """Send a request with a path below the base path."""
        return self.client.open(BASE + path, method=method, **kwargs)

    def get_json(self, path: str, **kwargs: Any) -> Any:
        """Send a GET that must succeed, and return its JSON."""
        response = self.call("GET", path, **kwargs)
        assert response.status_code == 200, response.text
        return response.json

    def post(self, path: str, body: Any = None) -> TestResponse:
        """Send a POST, with a JSON body if there is one."""
        return self.call("POST", path, **({} if body is None else {"json": body}))

    def create(self, name: str = "web-1", **fields: Any) -> Any:
        """Create a VM and return the JSON of the response, 201 or 202."""
        response = self.post("/vms", {**CREATE_BODY, "name": name, **fields})
        assert response.status_code in (201, 202), response.text
        return response.json

    def create_running(self, name: str = "web-1", **fields: Any) -> str:
        """Create a VM, run the engine until it is RUNNING, and return its id."""
        vm = self.create(name, start=True, **fields)
        self.run_until_settled()
        return str(vm["id"])

    def post_action(self, vm_id: str, action: str) -> TestResponse:
        """Send an action on a VM."""
        return self.post(f"/vms/{vm_id}/{action}")

    def get_vm(self, vm_id: str) -> Any:
        """Return the current JSON of a VM."""
        return self.get_json(f"/vms/{vm_id}")

    def get_operation(self, response: TestResponse) -> Any:
        """Return the current JSON of the operation that a response names."""
        operation = self.client.get(response.headers["Operation-Location"])
        assert operation.status_code == 200
        return operation.json

    def reconcile_once(self) -> None:
        """Reconcile every unfinished operation once."""
        for operation in self.services.operations.list_leased():
            self.services.operations.reconcile(operation)

    def advance_time(self, seconds: float) -> None:
        """Advance the clock, then reconcile once."""
        self.clock.sleep(seconds)
        self.reconcile_once()

    def run_until_settled(self) -> None:
        """Advance time until every operation is finished."""
        while self.services.operations.list_leased():
            self.advance_time(1)
