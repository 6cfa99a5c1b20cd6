"""A cloud that records the tokens of callers, and changes with Keystone tokens."""

from typing import Any

from werkzeug.test import TestResponse

from tests.support.api_harness import CREATE_BODY
from tests.support.auth_harness import AuthHarness
from tests.support.fake_clock import Clock
from vmapi import errors
from vmapi.backends.base import AcceptedAction
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.access.identity import CallerToken
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import CreateSpec, VMPatch
from vmapi.settings.memory import parse_latency

URL = "https://keystone.example.org/v3"
ALICE, BOB = "gAAAAABalice-token", "gAAAAABbob-token"
PROJECTS = {ALICE: "p-a", BOB: "p-b"}


class DelegatingCloud(MemoryBackend):
    """Records the tokens of changes, and refuses the configured ones."""

    def __init__(self, clock: Clock, latency: str) -> None:
        super().__init__(clock=clock, sleep=clock.sleep, latency=parse_latency(latency))
        self.caller_tokens: list[str | None] = []
        self.refusal: errors.VmapiError | None = None

    def create_vm(
        self, spec: CreateSpec, operation_id: str, *, caller_token: CallerToken | None = None
    ) -> AcceptedAction:
        self._record_token(caller_token)
        return super().create_vm(spec, operation_id)

    def perform_action(
        self, vm_id: str, verb: Verb, *, caller_token: CallerToken | None = None
    ) -> AcceptedAction:
        self._record_token(caller_token)
        return super().perform_action(vm_id, verb)

    def update_vm(
        self, vm_id: str, changes: VMPatch, *, caller_token: CallerToken | None = None
    ) -> None:
        self._record_token(caller_token)
        super().update_vm(vm_id, changes)

    def _record_token(self, caller_token: CallerToken | None) -> None:
        self.caller_tokens.append(caller_token.value if caller_token else None)
        if self.refusal is not None:
            raise self.refusal


def send_change(
    auth_harness: AuthHarness, method: str, path: str, body: Any = None, token: str = ALICE
) -> TestResponse:
    """Send a request with a Keystone token."""
    kwargs = {} if body is None else {"json": body}
    return auth_harness.call(method, path, headers={"X-Auth-Token": token}, **kwargs)


def create_running_vm(
    auth_harness: AuthHarness, backend: DelegatingCloud, name: str = "web-1", token: str = ALICE
) -> str:
    """Create a RUNNING VM, forget the recorded tokens, and return its id."""
    response = send_change(
        auth_harness, "POST", "/vms", {**CREATE_BODY, "name": name, "start": True}, token
    )
    assert response.status_code == 201
    backend.caller_tokens.clear()
    return str(response.json["id"])
