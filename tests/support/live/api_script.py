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

from tests.support.live.api_response import Answer, problem
from tests.support.live.transports import Send, in_process
from vmapi.app import create_app
from vmapi.settings.settings import Settings

BASE = "/api/v1"
DEADLINE = 90.0
SOON = 15.0
"""Seconds within which what others change is shown, however loaded the machine is; two else.

Less than lies between two looks at everything: what is waited for is one at what has changed.
"""
RUN = f"live-{uuid4().hex[:6]}"
"""Begins every name of this run."""
NO_CACHE = {"Cache-Control": "no-cache"}

T = TypeVar("T")


def until(look: Callable[[], T], deadline: float = DEADLINE, every: float = 0.2) -> T:
    """Look again and again until there is something, and return it."""
    end = time.monotonic() + deadline
    while not (found := look()):
        assert time.monotonic() < end, f"nothing came of {look} in {deadline} s"
        time.sleep(every)
    return found


@dataclass
class Script:
    """`label` begins the name of every VM that it makes; `seen` is every answer it got."""

    send: Send
    label: str
    made: list[str] = field(default_factory=list)
    seen: list[Answer] = field(default_factory=list)
    defaults: dict[str, Any] = field(default_factory=dict)

    def call(self, method: str, path: str, body: Any = None, *, fresh: bool = False) -> Answer:
        """Send a request below the base path, or to an absolute one.

        A `fresh` one has the cloud asked first.
        """
        path = path if path.startswith(("/api", "/readyz")) else BASE + path
        answer = self.send(method, path, body, NO_CACHE if fresh else None)
        self.seen.append(answer)
        return answer

    def get(self, path: str, *, fresh: bool = False) -> Any:
        """Return the JSON of a GET that succeeds."""
        answer = self.call("GET", path, fresh=fresh)
        assert answer.status == 200, answer
        return answer.body

    def refused(self, status: int, code: str, method: str, path: str, body: Any = None) -> Any:
        """Return the problem that a request must be answered with."""
        return problem(self.call(method, path, body), status, code)

    def name(self, what: str) -> str:
        """Name a VM."""
        return f"{self.label}-{what}"

    def wanted(self, what: str = "vm", **more: Any) -> dict[str, Any]:
        """Say what VM to make: the smallest, of the first image that is active."""
        if not self.defaults:
            images = [each for each in self.get("/images")["items"] if each["status"] == "active"]
            flavor = self.get("/flavors")["items"][0]
            self.defaults = {"flavor": flavor["name"], "image": images[0]["name"]}
        return {"name": self.name(what), **self.defaults, **more}

    def together(self, *calls: tuple[str, str, Any]) -> list[Answer]:
        """Send several requests at once, and return their answers in order."""
        with ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(lambda call: self.call(*call), calls))

    def order(self, what: str = "vm", **more: Any) -> Answer:
        """Ask for a VM; one that comes of it is deleted in the end."""
        answer = self.call("POST", "/vms", self.wanted(what, **more))
        if answer.status in (201, 202):
            self.made.append(answer.body["id"])
        return answer

    def create(self, what: str = "vm", **more: Any) -> str:
        """Have a VM made, wait until it has settled, and return its id."""
        answer = self.order(what, **more)
        assert answer.status in (201, 202), answer
        assert self.settled(answer.body["id"])["fault"] is None
        return str(answer.body["id"])

    def running(self, what: str = "vm", **more: Any) -> str:
        """Have a RUNNING VM made and return its id."""
        return self.create(what, start=True, **more)

    def vm(self, vm_id: str, *, fresh: bool = False) -> Any:
        """Return a VM as it is known, or as the cloud has it now."""
        return self.get(f"/vms/{vm_id}", fresh=fresh)

    def shown(self, vm_id: str, **members: Any) -> Any:
        """Wait until a VM is shown as others have made it, and return it."""

        def look() -> Any:
            vm = self.vm(vm_id)
            return vm if vm | members == vm else None

        return until(look, SOON)

    def act(self, vm_id: str, action: str, body: Any = None) -> Answer:
        """Send an action."""
        return self.call("POST", f"/vms/{vm_id}/{action}", body)

    def done(self, vm_id: str, action: str, body: Any = None) -> Any:
        """Carry an action out that succeeds, and return the VM as it is then."""
        answer = self.act(vm_id, action, body)
        assert answer.status in (200, 202), answer
        operation = self.ended(answer)
        assert (operation["status"], operation["error"]) == ("succeeded", None)
        return self.settled(vm_id)

    def ended(self, answer: Answer) -> Any:
        """Wait until the operation that an answer names is over, and return it."""
        path = answer.headers["Operation-Location"]

        def look() -> Any:
            operation = self.get(path)
            return operation if operation["finished_at"] else None

        return until(look)

    def settled(self, vm_id: str) -> Any:
        """Wait until nothing is under way with a VM, and return it."""

        def look() -> Any:
            vm = self.vm(vm_id)
            return vm if vm["task"] is None else None

        return until(look)

    def gone(self, vm_id: str, deadline: float = DEADLINE) -> None:
        """Wait until a VM is no more."""
        until(lambda: self.call("GET", f"/vms/{vm_id}").status == 404, deadline)

    def clean(self) -> None:
        """Delete what was made, also what was made without an answer."""
        left = {*self.made, *(vm["id"] for vm in until(self._named)["items"])}
        for vm_id in left:
            until(partial(self._delete, vm_id))
        for vm_id in left:
            self.gone(vm_id)

    def _named(self) -> Any:
        # a cloud that was away may not be known to be back
        answer = self.call("GET", f"/vms?name={self.label}-*&page_size=1000", fresh=True)
        return answer.body if answer.status == 200 else None

    def _delete(self, vm_id: str) -> bool:
        return self.call("DELETE", f"/vms/{vm_id}").status in (202, 204, 404)


def settled_in_nova(conn: Any, vm_id: str, status: str) -> None:
    """Wait for a status in Nova, with nothing under way."""

    def look() -> bool:
        server = conn.compute.get_server(vm_id)
        return server.status == status and server.task_state is None

    until(look)


@contextmanager
def serving(settings: Settings, label: str = "") -> Iterator[Script]:
    """Give a script an app and a database of its own, without the cleaning."""
    with TemporaryDirectory() as folder:
        app = create_app(replace(settings, database_url=f"sqlite:///{folder}/vmapi.sqlite3"))
        services = app.extensions["vmapi"]
        try:
            yield Script(in_process(app), label or f"{RUN}-{uuid4().hex[:4]}")
        finally:
            services.operations.stop()
            services.engine.stop()
            services.backend.close()
            services.store.close()
