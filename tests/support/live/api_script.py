"""A script against the API: requests, waiting, and deletion of the created VMs."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from uuid import uuid4

from tests.support.live.api_response import ApiResponse, assert_problem
from tests.support.live.transports import SendRequest, in_process
from vmapi.app import create_app
from vmapi.settings.settings import Settings

BASE = "/api/v1"
SCRIPT_TIMEOUT = 180.0
EXTERNAL_CHANGE_TIMEOUT = 45.0
"""Seconds until a change by others is shown, on a loaded machine; two on an idle one.

Shorter than the interval of the full sync: the tests wait for the incremental sync.
"""
RUN_LABEL = f"live-{uuid4().hex[:6]}"
"""The prefix of all names of this run."""
NO_CACHE = {"Cache-Control": "no-cache"}

T = TypeVar("T")


def wait_for(
    condition: Callable[[], T], timeout: float = SCRIPT_TIMEOUT, interval: float = 0.2
) -> T:
    """Call `condition` until its result is true, and return the result. Times are in seconds."""
    end = time.monotonic() + timeout
    while not (result := condition()):
        assert time.monotonic() < end, f"{condition} was not true within {timeout} s"
        time.sleep(interval)
    return result


@dataclass
class ApiScript:
    """A client of the API.

    `label` is the prefix of the names of its VMs; `responses` holds all responses.
    """

    send: SendRequest
    label: str
    created_vm_ids: list[str] = field(default_factory=list)
    responses: list[ApiResponse] = field(default_factory=list)
    defaults: dict[str, Any] = field(default_factory=dict)

    def call(
        self, method: str, path: str, body: Any = None, *, refresh: bool = False
    ) -> ApiResponse:
        """Send a request to a path below the base path, or to an absolute path.

        With `refresh`, vmapi reads the cloud before it responds.
        """
        path = path if path.startswith(("/api", "/readyz")) else BASE + path
        response = self.send(method, path, body, NO_CACHE if refresh else None)
        self.responses.append(response)
        return response

    def get(self, path: str, *, refresh: bool = False) -> Any:
        """Return the JSON of a GET that succeeds."""
        response = self.call("GET", path, refresh=refresh)
        assert response.status == 200, response
        return response.body

    def assert_refused(
        self, status: int, code: str, method: str, path: str, body: Any = None
    ) -> Any:
        """Send a request, assert that the response is a problem, and return the problem."""
        return assert_problem(self.call(method, path, body), status, code)

    def vm_name(self, suffix: str) -> str:
        """Return the name of a VM."""
        return f"{self.label}-{suffix}"

    def create_body(self, suffix: str = "vm", **members: Any) -> dict[str, Any]:
        """Return the body of a create: the smallest flavor and the first active image."""
        if not self.defaults:
            images = [i for i in self.get("/images")["items"] if i["status"] == "active"]
            flavor = self.get("/flavors")["items"][0]
            self.defaults = {"flavor": flavor["name"], "image": images[0]["name"]}
        return {"name": self.vm_name(suffix), **self.defaults, **members}

    def call_concurrently(self, *calls: tuple[str, str, Any]) -> list[ApiResponse]:
        """Send several requests at once, and return their responses in order."""
        with ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(lambda call: self.call(*call), calls))

    def request_vm(self, suffix: str = "vm", **members: Any) -> ApiResponse:
        """Request a VM, to be deleted with the script."""
        response = self.call("POST", "/vms", self.create_body(suffix, **members))
        if response.status in (201, 202):
            self.created_vm_ids.append(response.body["id"])
        return response

    def create_vm(self, suffix: str = "vm", **members: Any) -> str:
        """Create a VM, wait until it has settled, and return its id."""
        response = self.request_vm(suffix, **members)
        assert response.status in (201, 202), response
        assert self.wait_until_settled(response.body["id"])["fault"] is None
        return str(response.body["id"])

    def create_running_vm(self, suffix: str = "vm", **members: Any) -> str:
        """Create a RUNNING VM and return its id."""
        return self.create_vm(suffix, start=True, **members)

    def get_vm(self, vm_id: str, *, refresh: bool = False) -> Any:
        """Return a VM from the inventory, or from the cloud with `refresh`."""
        return self.get(f"/vms/{vm_id}", refresh=refresh)

    def wait_until_shown(self, vm_id: str, **members: Any) -> Any:
        """Wait until a VM has these members after a change by others, and return the VM."""

        def fetch_if_reached() -> Any:
            vm = self.get_vm(vm_id)
            return vm if vm | members == vm else None

        return wait_for(fetch_if_reached, EXTERNAL_CHANGE_TIMEOUT)

    def request_action(self, vm_id: str, action: str, body: Any = None) -> ApiResponse:
        """Send an action."""
        return self.call("POST", f"/vms/{vm_id}/{action}", body)

    def perform_action(self, vm_id: str, action: str, body: Any = None) -> Any:
        """Perform an action, assert its success, and return the settled VM."""
        response = self.request_action(vm_id, action, body)
        assert response.status in (200, 202), response
        operation = self.wait_until_finished(response)
        assert (operation["status"], operation["error"]) == ("succeeded", None)
        return self.wait_until_settled(vm_id)

    def wait_until_finished(self, response: ApiResponse) -> Any:
        """Wait until the operation of a response has finished, and return it."""
        path = response.headers["Operation-Location"]

        def fetch_if_reached() -> Any:
            operation = self.get(path)
            return operation if operation["finished_at"] else None

        return wait_for(fetch_if_reached)

    def wait_until_settled(self, vm_id: str) -> Any:
        """Wait until a VM has no task, and return it."""

        def fetch_if_reached() -> Any:
            vm = self.get_vm(vm_id)
            return vm if vm["task"] is None else None

        return wait_for(fetch_if_reached)

    def wait_until_deleted(self, vm_id: str, deadline: float = SCRIPT_TIMEOUT) -> None:
        """Wait until a VM is not found."""
        wait_for(lambda: self.call("GET", f"/vms/{vm_id}").status == 404, deadline)

    def wait_until_cloud_responds(self) -> None:
        """Wait until vmapi reads the cloud: timeouts in a row have opened the circuit breaker."""
        wait_for(self._list_vms)

    def delete_created_vms(self) -> None:
        """Delete all VMs of this script, those of creates without a response too."""
        listed = wait_for(self._list_vms)["items"]
        vm_ids = {*self.created_vm_ids, *(vm["id"] for vm in listed)}
        for vm_id in vm_ids:
            wait_for(partial(self._delete, vm_id))
        for vm_id in vm_ids:
            self.wait_until_deleted(vm_id)

    def _list_vms(self) -> Any:
        # the circuit breaker may still be open after an outage
        response = self.call("GET", f"/vms?name={self.label}-*&page_size=1000", refresh=True)
        return response.body if response.status == 200 else None

    def _delete(self, vm_id: str) -> bool:
        return self.call("DELETE", f"/vms/{vm_id}").status in (202, 204, 404)


def wait_until_settled_in_nova(conn: Any, vm_id: str, status: str) -> None:
    """Wait until a server has a status and no task in Nova."""

    def is_reached() -> bool:
        server = conn.compute.get_server(vm_id)
        return server.status == status and server.task_state is None

    wait_for(is_reached)


@contextmanager
def serve_app(settings: Settings, label: str = "") -> Iterator[ApiScript]:
    """Yield a script with a separate app and database; the caller deletes the VMs."""
    with TemporaryDirectory() as folder:
        app = create_app(replace(settings, database_url=f"sqlite:///{folder}/vmapi.sqlite3"))
        services = app.extensions["vmapi"]
        try:
            yield ApiScript(in_process(app), label or f"{RUN_LABEL}-{uuid4().hex[:4]}")
        finally:
            services.operations.stop()
            services.engine.stop()
            services.backend.close()
            services.store.close()
