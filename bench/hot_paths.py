"""The requests that `bench.profile` measures: each can be sent any number of times."""

from collections.abc import Callable
from typing import Any
from wsgiref.types import WSGIApplication

from flask import Flask
from werkzeug.test import EnvironBuilder

from bench.client import VMS
from bench.targets import CHANGES, AppTarget

READS = ("livez", "one-vm", "not-modified", "list-100", "list-1000", "list-by-name")
HOT_PATHS = (*READS, *CHANGES)

Send = Callable[[], object]
Run = Callable[[Send], object]
"""Runs a request under the profiler, or measures it."""


class WsgiRequest:
    """A request that goes to a WSGI app without a server, again and again."""

    def __init__(self, app: WSGIApplication, path: str, **headers: str) -> None:
        self._app = app
        self._environ = EnvironBuilder(path, headers=list(headers.items())).get_environ()
        self._environ["REMOTE_ADDR"] = "127.0.0.1"
        self.status = ""
        self.headers: dict[str, str] = {}

    def __call__(self) -> None:
        """Send the request, and read the response to its end."""
        response = self._app(dict(self._environ), self._start)
        b"".join(response)
        close = getattr(response, "close", None)
        if close is not None:
            close()

    def _start(self, status: str, headers: Any, _: Any = None) -> Any:
        self.status, self.headers = status, dict(headers)
        if status[0] not in "23":
            raise RuntimeError(status)


def run_hot_path(name: str, app: Flask, times: int, run: Run) -> None:
    """Run a request a number of times; the preparations are not under `run`."""
    if name in CHANGES:
        target = AppTarget(name, app, keyed=False)
        for _ in range(times):
            run_life(target, name, run)
        return
    AppTarget(name, app, keyed=False).sync()
    send = build_read(name, app)
    send()
    for _ in range(times):
        run(send)


def run_life(target: AppTarget, name: str, run: Run) -> None:
    """Make the changes in the life of one VM, one of them under `run`."""
    for change in CHANGES:
        send = target.prepare(change)
        if change == name:
            run(send)
        else:
            send()
        target.settle()


def build_read(name: str, app: Flask) -> WsgiRequest:
    """Return a read of an app."""
    client = app.test_client()
    (item,) = client.get(f"{VMS}?page_size=1").get_json()["items"]
    etag = client.get(f"{VMS}/{item['id']}").headers["ETag"]
    path, headers = list_reads(item["id"], etag)[name]
    return WsgiRequest(app, path, **headers)


def list_reads(vm_id: str, etag: str) -> dict[str, tuple[str, dict[str, str]]]:
    """Return the path and the headers of each read."""
    vm, page = f"{VMS}/{vm_id}", f"{VMS}?page_size="
    return {
        "livez": ("/livez", {}),
        "one-vm": (vm, {}),
        "not-modified": (vm, {"If-None-Match": etag}),
        "list-100": (f"{page}100", {}),
        "list-1000": (f"{page}1000", {}),
        "list-by-name": (f"{page}100&sort=name&status=RUNNING", {}),
    }
