"""Count the frames and modules that a request passes, and list the modules in order.

Run as `.venv/bin/python -m bench.call_path`, on a simulated OpenStack and SQLite. Only functions of
vmapi count. The ways: a create, a poll for changes with one changed VM, a list of VMs from the
inventory, and the opening of an event stream.
"""

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any
from unittest import mock

from flask import Flask
from flask.testing import FlaskClient

import vmapi
from bench.apps import build_app, open_backend
from bench.processes import remove_settings

PACKAGE = Path(vmapi.__file__).parent
VIEWS = str(PACKAGE / "api" / "views") + os.sep
HTTP_ADAPTER = os.path.join("requests", "adapters.py")
BASE = "/api/v1"


@dataclass
class CallPath:
    """The functions of vmapi that were called."""

    calls: int = 0
    modules: dict[str, None] = field(default_factory=dict)
    """Paths below the package, in the order of their first call."""
    view_modules: dict[str, None] = field(default_factory=dict)
    """Those from the view function to the first HTTP request."""
    http_stacks: list[list[str]] = field(default_factory=list)
    """The functions on the stack at each HTTP request, from the view to the driver."""

    def add(self, code: CodeType) -> None:
        """Count a call."""
        self.calls += 1
        module = str(Path(code.co_filename).relative_to(PACKAGE))
        self.modules.setdefault(module)
        if not self.http_stacks and (self.view_modules or code.co_filename.startswith(VIEWS)):
            self.view_modules.setdefault(module)


@contextmanager
def record_calls() -> Iterator[CallPath]:
    """Record the calls of this thread, and of those that start in the block."""
    path = CallPath()

    def profile(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call":
            return
        if is_vmapi(code):
            path.add(code)
        elif code.co_name == "send" and code.co_filename.endswith(HTTP_ADAPTER):
            path.http_stacks.append(stack_from_view(frame))

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        yield path
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def is_vmapi(code: CodeType) -> bool:
    """Return whether code is a function of vmapi, not a module that is being imported."""
    return code.co_filename.startswith(str(PACKAGE)) and code.co_name != "<module>"


def stack_from_view(frame: FrameType | None) -> list[str]:
    """Return the functions of vmapi on a stack, from the view function inwards."""
    frames: list[CodeType] = []
    while frame is not None:
        if is_vmapi(frame.f_code):
            frames.append(frame.f_code)
        frame = frame.f_back
    frames.reverse()
    views = [i for i, code in enumerate(frames) if code.co_filename.startswith(VIEWS)]
    return [code.co_qualname for code in frames[views[0] if views else 0 :]]


def record_create(client: FlaskClient) -> CallPath:
    """Record a create on a fresh inventory and a warm catalog."""
    body = {"flavor": "m1.tiny", "image": "cirros"}
    for name in ("warm-up", "measured"):
        with record_calls() as path:
            response = client.post(f"{BASE}/vms", json={"name": name, **body})
        if response.status_code != 202:
            raise RuntimeError(response.text)
    return path


def record_stream(client: FlaskClient) -> CallPath:
    """Record the opening of an event stream, until its first bytes."""
    with record_calls() as path:
        response = client.get(f"{BASE}/events", buffered=False)
        next(iter(response.response))
    response.close()
    return path


def record_list(client: FlaskClient) -> CallPath:
    """Record a list of VMs."""
    with record_calls() as path:
        client.get(f"{BASE}/vms")
    return path


def record_poll(app: Flask) -> CallPath:
    """Record a poll for changes."""
    with record_calls() as path:
        app.extensions["vmapi"].periodic_tasks["incremental-sync"].func()
    return path


@contextmanager
def open_app() -> Iterator[Flask]:
    """Build an app with a full inventory on a simulated OpenStack."""
    with (
        mock.patch.dict(os.environ),
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
    ):
        remove_settings()
        with (
            open_backend() as backend,
            build_app(backend, f"sqlite:///{folder}/vmapi.sqlite3", backend="openstack") as app,
        ):
            services = app.extensions["vmapi"]
            services.engine.stop()
            services.periodic_tasks["full-sync"]()
            yield app


def main() -> None:
    """Print the four ways."""
    with open_app() as app:
        client = app.test_client()
        ways: dict[str, Callable[[], CallPath]] = {
            "POST /vms": lambda: record_create(client),
            "poll for changes": lambda: record_poll(app),
            "GET /vms": lambda: record_list(client),
            "GET /events": lambda: record_stream(client),
        }
        paths = {name: record() for name, record in ways.items()}
    for name, path in paths.items():
        print(f"\n{name}: {len(path.modules)} modules, {path.calls} calls")
        for stack in path.http_stacks:
            print(f"  {len(stack)} frames to the HTTP request: {' > '.join(stack)}")
        if path.http_stacks and path.view_modules:
            print(f"  {len(path.view_modules)} modules from the view to the HTTP request")
        for module in path.modules:
            print(f"  {module}")


if __name__ == "__main__":
    main()
