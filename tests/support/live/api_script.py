"""A script against the API: it asks, polls until there is an end, and leaves nothing behind."""

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
SCRIPT_TIMEOUT = 90.0
EXTERNAL_CHANGE_TIMEOUT = 15.0
"""Seconds within which what others change is shown, however loaded the machine is; two else.

Less than lies between two looks at everything: what is waited for is one at what has changed.
"""
RUN_LABEL = f"live-{uuid4().hex[:6]}"
"""Begins every name of this run."""
NO_CACHE = {"Cache-Control": "no-cache"}

T = TypeVar("T")


def wait_for(
    condition: Callable[[], T], timeout: float = SCRIPT_TIMEOUT, interval: float = 0.2
) -> T:
    """Look again and again until there is something, and return it."""
    end = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < end, f"nothing came of {condition} in {timeout} s"
        time.sleep(interval)
    return found


@dataclass
class ApiScript:
    """`label` begins the name of every VM that it makes; `seen` is every answer it got."""

    send: SendRequest
    label: str
    created_vm_ids: list[str] = field(default_factory=list)
    responses: list[ApiResponse] = field(default_factory=list)
    defaults: dict[str, Any] = field(default_factory=dict)

    def call(
        self, method: str, path: str, body: Any = None, *, refresh: bool = False
    ) -> ApiResponse:
        """Send a request below the base path, or to an absolute one.

        A `fresh` one has the cloud asked first.
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
        """Return the problem that a request must be answered with."""
        return assert_problem(self.call(method, path, body), status, code)

    def vm_name(self, suffix: str) -> str:
        """Name a VM."""
        return f"{self.label}-{suffix}"

    def create_body(self, suffix: str = "vm", **more: Any) -> dict[str, Any]:
        """Say what VM to make: the smallest, of the first image that is active."""
        if not self.defaults:
            images = [each for each in self.get("/images")["items"] if each["status"] == "active"]
            flavor = self.get("/flavors")["items"][0]
            self.defaults = {"flavor": flavor["name"], "image": images[0]["name"]}
        return {"name": self.vm_name(suffix), **self.defaults, **more}

    def call_concurrently(self, *calls: tuple[str, str, Any]) -> list[ApiResponse]:
        """Send several requests at once, and return their answers in order."""
        with ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(lambda call: self.call(*call), calls))

    def request_vm(self, suffix: str = "vm", **more: Any) -> ApiResponse:
        """Ask for a VM; one that comes of it is deleted in the end."""
        response = self.call("POST", "/vms", self.create_body(suffix, **more))
        if response.status in (201, 202):
            self.created_vm_ids.append(response.body["id"])
        return response

    def create_vm(self, suffix: str = "vm", **more: Any) -> str:
        """Have a VM made, wait until it has settled, and return its id."""
        response = self.request_vm(suffix, **more)
        assert response.status in (201, 202), response
        assert self.wait_until_settled(response.body["id"])["fault"] is None
        return str(response.body["id"])

    def create_running_vm(self, suffix: str = "vm", **more: Any) -> str:
        """Have a RUNNING VM made and return its id."""
        return self.create_vm(suffix, start=True, **more)

    def get_vm(self, vm_id: str, *, refresh: bool = False) -> Any:
        """Return a VM as it is known, or as the cloud has it now."""
        return self.get(f"/vms/{vm_id}", refresh=refresh)

    def wait_until_shown(self, vm_id: str, **members: Any) -> Any:
        """Wait until a VM is shown as others have made it, and return it."""

        def look() -> Any:
            vm = self.get_vm(vm_id)
            return vm if vm | members == vm else None

        return wait_for(look, EXTERNAL_CHANGE_TIMEOUT)

    def request_action(self, vm_id: str, action: str, body: Any = None) -> ApiResponse:
        """Send an action."""
        return self.call("POST", f"/vms/{vm_id}/{action}", body)

    def perform_action(self, vm_id: str, action: str, body: Any = None) -> Any:
        """Carry an action out that succeeds, and return the VM as it is then."""
        response = self.request_action(vm_id, action, body)
        assert response.status in (200, 202), response
        operation = self.wait_until_finished(response)
        assert (operation["status"], operation["error"]) == ("succeeded", None)
        return self.wait_until_settled(vm_id)

    def wait_until_finished(self, response: ApiResponse) -> Any:
        """Wait until the operation that an answer names is over, and return it."""
        path = response.headers["Operation-Location"]

        def look() -> Any:
            operation = self.get(path)
            return operation if operation["finished_at"] else None

        return wait_for(look)

    def wait_until_settled(self, vm_id: str) -> Any:
        """Wait until nothing is under way with a VM, and return it."""

        def look() -> Any:
            vm = self.get_vm(vm_id)
            return vm if vm["task"] is None else None

        return wait_for(look)

    def wait_until_deleted(self, vm_id: str, deadline: float = SCRIPT_TIMEOUT) -> None:
        """Wait until a VM is no more."""
        wait_for(lambda: self.call("GET", f"/vms/{vm_id}").status == 404, deadline)

    def delete_created_vms(self) -> None:
        """Delete what was made, also what was made without an answer."""
        left = {*self.created_vm_ids, *(vm["id"] for vm in wait_for(self._named)["items"])}
        for vm_id in left:
            wait_for(partial(self._delete, vm_id))
        for vm_id in left:
            self.wait_until_deleted(vm_id)

    def _named(self) -> Any:
        # a cloud that was away may not be known to be back
        response = self.call("GET", f"/vms?name={self.label}-*&page_size=1000", refresh=True)
        return response.body if response.status == 200 else None

    def _delete(self, vm_id: str) -> bool:
        return self.call("DELETE", f"/vms/{vm_id}").status in (202, 204, 404)


def wait_until_settled_in_nova(conn: Any, vm_id: str, status: str) -> None:
    """Wait for a status in Nova, with nothing under way."""

    def look() -> bool:
        server = conn.compute.get_server(vm_id)
        return server.status == status and server.task_state is None

    wait_for(look)


@contextmanager
def serve_app(settings: Settings, label: str = "") -> Iterator[ApiScript]:
    """Give a script an app and a database of its own, without the cleaning."""
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
