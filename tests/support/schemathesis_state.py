"""State for generated requests: one VM, in a status that allows the requested action."""

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

from tests.support.api_harness import BASE, CREATE_BODY
from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.settings.settings import Settings

# The document cannot say which problem types exist (404), nor that page times page_size has a
# limit (422, see `check_validation_error`).
ACCEPTED_STATUSES = ["2xx", "304", "404", "422"]
EXISTING = {
    "flavor": "m1.tiny",
    "image": "cirros",
    "network": "public",
    "key_name": "demo",
    "security_groups": ["web"],
}
PRECEDING_ACTION = {"start": "stop", "resume": "pause"}
"""The action that brings a RUNNING VM into a status that allows another action."""
ACTIONS = ("start", "stop", "restart", "pause", "resume")


@dataclass
class SchemathesisState:
    """The one VM in the cloud, and its operations, that generated requests refer to."""

    client: FlaskClient
    vm_id: str = ""
    prepared_action: str | None = None
    """The action that the VM's status allows. None: a request may have changed the VM."""

    def prepare(self, case: Any) -> None:
        """Point a well-formed request at the VM, its operation, its ETag and existing names."""
        self._create_vm(case.path.rpartition("/")[2])
        if is_uuid(case.path_parameters.get("vm_id")):
            case.path_parameters["vm_id"] = self.vm_id
        if is_uuid(case.path_parameters.get("operation_id")):
            newest: Any = self.client.get(f"{BASE}/operations").json
            case.path_parameters["operation_id"] = newest["items"][0]["id"]
        if not is_positive(case):
            return
        # the document cannot say which cursors and tags exist
        (case.query or {}).pop("cursor", None)
        for header in ("If-Match", "If-None-Match"):
            if header in (case.headers or {}):
                case.headers[header] = self.client.get(f"{BASE}/vms/{self.vm_id}").headers["ETag"]
        if isinstance(case.body, dict):
            case.body.update({name: EXISTING[name] for name in EXISTING if name in case.body})
            replace_selector(case.body.get("filter"))
        replace_selector(case.query)

    def record(self, case: Any, response: Any) -> None:
        """Discard the VM after a request that may have changed it."""
        if case.method.upper() != "GET" and response.status_code < 400:
            self.prepared_action = None

    def _create_vm(self, path_end: str) -> None:
        action = path_end if path_end in ACTIONS else ""
        if self.prepared_action == action:
            return
        for vm in self.client.get(f"{BASE}/vms").json["items"]:
            self.client.delete(f"{BASE}/vms/{vm['id']}")
        body = {**CREATE_BODY, "name": "the-one", "start": True}
        created: Any = self.client.post(f"{BASE}/vms", json=body).json
        if action in PRECEDING_ACTION:
            self.client.post(f"{BASE}/vms/{created['id']}/{PRECEDING_ACTION[action]}")
        self.vm_id, self.prepared_action = str(created["id"]), action


def is_uuid(value: object) -> bool:
    """Return whether a value is a UUID in its canonical form."""
    try:
        return str(UUID(str(value))) == value
    except ValueError:
        return False


def is_positive(case: Any) -> bool:
    """Return whether a request was generated to be valid."""
    return case.meta is None or case.meta.generation.mode is GenerationMode.POSITIVE


def replace_selector(filters: Any) -> None:
    """Replace a generated selector: the document cannot express the grammar."""
    if isinstance(filters, dict) and "selector" in filters:
        filters["selector"] = "env=prod,!legacy"


def check_validation_error(case: Any, response: Any) -> None:
    """Check that a valid request has a 422 only for a rule that the document cannot express."""
    if not is_positive(case) or response.status_code != 422:
        return
    problem = response.json()
    if problem["code"] != "idempotency_key_reused":
        assert [error["pointer"] for error in problem["errors"]] in (["/page"], ["/ids"])


def load_schema(app: Flask) -> Any:
    """Load the OpenAPI document of an app into Schemathesis."""
    acceptance = PositiveDataAcceptanceConfig(expected_statuses=ACCEPTED_STATUSES)
    project = ProjectConfig(
        checks=ChecksConfig(positive_data_acceptance=acceptance),
        generation=GenerationConfig(deterministic=True, with_security_parameters=False),
    )
    config = SchemathesisConfig(projects=ProjectsConfig(default=project))
    return schemathesis.openapi.from_wsgi("/openapi.json", app, config=config)


def build_app(**settings: Any) -> Flask:
    """Create an app without an engine, and restore the logging of the tests."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    rates = dict.fromkeys(("rate_reads", "rate_changes", "rate_address"), ())
    app = create_app(Settings(log_level="CRITICAL", **rates, **settings), MemoryBackend())
    root.handlers[:] = handlers
    root.setLevel(level)
    app.extensions["vmapi"].engine.stop()
    return app
