"""A script against the API: it asks, polls until there is an end, and leaves nothing behind."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from uuid import uuid4

from flask import Flask

from tests.live.answer import Answer, problem
from vmapi.app import create_app
from vmapi.settings import Settings

BASE = "/api/v1"
DEADLINE = 90.0
RUN = f"live-{uuid4().hex[:6]}"
"""Begins every name of this run."""

T = TypeVar("T")


Send = Callable[[str, str, Any], Answer]


def until(look: Callable[[], T], deadline: float = DEADLINE, every: float = 0.2) -> T:
    """Look again and again until there is something, and return it."""
    end = time.monotonic() + deadline
    while not (found := look()):
        assert time.monotonic() < end, f"nothing came of {look} in {deadline} s"
        time.sleep(every)
    return found


def in_process(app: Flask) -> Send:
    """Send requests to an app of this process; any number of threads may."""

    def send(method: str, path: str, body: Any) -> Answer:
        begun = time.monotonic()
        got = app.test_client().open(path, method=method, json=body)
        seconds = time.monotonic() - begun
        return Answer(got.status_code, got.headers, got.get_json(silent=True), got.text, seconds)

    return send


@dataclass
class Script:
    """`label` begins the name of every VM that it makes; `seen` is every answer it got."""

    send: Send
    label: str
    made: list[str] = field(default_factory=list)
    seen: list[Answer] = field(default_factory=list)
    defaults: dict[str, Any] = field(default_factory=dict)

    def call(self, method: str, path: str, body: Any = None) -> Answer:
        """Send a request below the base path, or to an absolute one."""
        path = path if path.startswith(("/api", "/readyz")) else BASE + path
        answer = self.send(method, path, body)
        self.seen.append(answer)
        return answer

    def get(self, path: str) -> Any:
        """Return the JSON of a GET that succeeds."""
        answer = self.call("GET", path)
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

    def vm(self, vm_id: str) -> Any:
        """Return a VM as it is now."""
        return self.get(f"/vms/{vm_id}")

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

    def gone(self, vm_id: str) -> None:
        """Wait until a VM is no more."""
        until(lambda: self.call("GET", f"/vms/{vm_id}").status == 404)

    def clean(self) -> None:
        """Delete what was made, also what was made without an answer."""
        named = self.get(f"/vms?name={self.label}-*&page_size=1000")["items"]
        left = {*self.made, *(vm["id"] for vm in named)}
        for vm_id in left:
            until(
                lambda vm_id=vm_id: self.call("DELETE", f"/vms/{vm_id}").status in (202, 204, 404)
            )
        for vm_id in left:
            self.gone(vm_id)

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
            services.engine.stop()
            services.backend.close()
            services.store.close()
