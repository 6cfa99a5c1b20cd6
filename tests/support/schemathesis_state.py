"""What generated requests are about: one VM, in a state that allows what is asked for."""

import logging
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from schemathesis import GenerationMode
from schemathesis.config import (
    ChecksConfig,
    GenerationConfig,
    PositiveDataAcceptanceConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)

from tests.support.api_harness import BASE, WANTED
from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.settings.settings import Settings

# what a document cannot say: which problems there are to explain (404), and that page times
# page_size has a limit (422, `explained` looks at it)
HONEST = ["2xx", "304", "404", "422"]
KNOWN = {
    "flavor": "m1.tiny",
    "image": "cirros",
    "network": "public",
    "key_name": "demo",
    "security_groups": ["web"],
}
BEFORE = {"start": "stop", "resume": "pause"}
"""What makes a RUNNING VM one that an action is allowed on."""
ACTIONS = ("start", "stop", "restart", "pause", "resume")


@dataclass
class Stage:
    """What there is in the cloud for a request to be about: one VM, and its operations."""

    client: FlaskClient
    vm_id: str = ""
    ready_for: str | None = None
    """Which action it was set for; None where something may have changed since."""

    def fit(self, case: Any) -> None:
        """Let a request that is well-formed be about what there is."""
        self._set(case.path.rpartition("/")[2])
        if is_uuid(case.path_parameters.get("vm_id")):
            case.path_parameters["vm_id"] = self.vm_id
        if is_uuid(case.path_parameters.get("operation_id")):
            newest: Any = self.client.get(f"{BASE}/operations").json
            case.path_parameters["operation_id"] = newest["items"][0]["id"]
        if not positive(case):
            return
        # no document says which cursors and tags there are
        (case.query or {}).pop("cursor", None)
        for header in ("If-Match", "If-None-Match"):
            if header in (case.headers or {}):
                case.headers[header] = self.client.get(f"{BASE}/vms/{self.vm_id}").headers["ETag"]
        if isinstance(case.body, dict):
            case.body.update({name: KNOWN[name] for name in KNOWN if name in case.body})

    def changed(self, case: Any, answer: Any) -> None:
        """Have it set anew where a request may have changed it."""
        if case.method.upper() != "GET" and answer.status_code < 400:
            self.ready_for = None

    def _set(self, last: str) -> None:
        action = last if last in ACTIONS else ""
        if self.ready_for == action:
            return
        for vm in self.client.get(f"{BASE}/vms").json["items"]:  # type: ignore[index]
            self.client.delete(f"{BASE}/vms/{vm['id']}")
        body = {**WANTED, "name": "the-one", "start": True}
        made: Any = self.client.post(f"{BASE}/vms", json=body).json
        if action in BEFORE:
            self.client.post(f"{BASE}/vms/{made['id']}/{BEFORE[action]}")
        self.vm_id, self.ready_for = str(made["id"]), action


def is_uuid(value: object) -> bool:
    try:
        return str(UUID(str(value))) == value
    except ValueError:
        return False


def positive(case: Any) -> bool:
    return case.meta is None or case.meta.generation.mode is GenerationMode.POSITIVE


def reused(answer: Any) -> bool:
    return bool(answer.json()["code"] == "idempotency_key_reused")


def explained(case: Any, answer: Any) -> None:
    """Refuse a 422 to a request that the document allows, but for what it cannot say."""
    if positive(case) and answer.status_code == 422 and not reused(answer):
        pointers = [error["pointer"] for error in answer.json()["errors"]]
        assert pointers in (["/page"], ["/ids"])


def schema_of(app: Flask) -> Any:
    acceptance = PositiveDataAcceptanceConfig(expected_statuses=HONEST)
    project = ProjectConfig(
        checks=ChecksConfig(positive_data_acceptance=acceptance),
        generation=GenerationConfig(deterministic=True, with_security_parameters=False),
    )
    config = SchemathesisConfig(projects=ProjectsConfig(default=project))
    return schemathesis.openapi.from_wsgi("/openapi.json", app, config=config)


def quiet_app(**settings: Any) -> Flask:
    """Make an app without changing how the tests log, or leaving them a thread."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    rates = dict.fromkeys(("rate_reads", "rate_changes", "rate_address"), ())
    app = create_app(Settings(log_level="CRITICAL", **rates, **settings), MemoryBackend())
    root.handlers[:] = handlers
    root.setLevel(level)
    app.extensions["vmapi"].engine.stop()
    return app
