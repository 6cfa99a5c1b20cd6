"""The scenario of one VM: create, start, stop, delete, and the final responses."""

import random
import time
from dataclasses import dataclass, field

from tests.support.live.retrying_client import FinalResponse, RetryingClient

VM_OPTIONS = {"flavor": "m1.tiny", "image": "debian-12", "network": "private"}
STEPS = (("create", 201, "STOPPED"), ("start", 200, "RUNNING"), ("stop", 200, "STOPPED"))
TIMEOUT_CODE = "operation_timeout"
LATE_VM_SECONDS = 120.0
"""Time after a create's deadline in which its VM may still appear."""


@dataclass
class VMScenario:
    """One VM of the kill test.

    `responses` has the final response of each action. `failed_action` is the action before the
    delete that failed in Nova.
    """

    name: str
    vm_id: str = ""
    responses: dict[str, FinalResponse] = field(default_factory=dict)
    failed_action: str = ""

    @property
    def is_deleted(self) -> bool:
        """Whether the client has deleted the VM."""
        return "delete" in self.responses and not self.has_delete_timed_out

    @property
    def has_delete_timed_out(self) -> bool:
        """Whether the delete missed its deadline: right only if a killed Nova lost the delete."""
        return "delete" in self.responses and self.responses["delete"].code == TIMEOUT_CODE

    @property
    def may_be_lost_in_nova(self) -> bool:
        """Whether a killed Nova may have lost the VM before a host received it."""
        is_settled = self.is_deleted or not self.vm_id
        return is_settled and self.responses["create"].code == TIMEOUT_CODE

    def run(self, client: RetryingClient) -> "VMScenario":
        """Create, start and stop the VM; delete every second VM, and all that failed in Nova."""
        for action, status, goal in STEPS:
            response = self._send(client, action)
            if action == "create":
                # a create that missed its deadline has left a VM too
                assert response.status == 201 or response.code == TIMEOUT_CODE, (
                    self.name,
                    response,
                )
                self.vm_id = self._find_created_vm_id(client, response)
            if (response.status, response.body.get("status")) != (status, goal):
                assert response.status >= 500 or response.body.get("fault"), (
                    self.name,
                    action,
                    response,
                )
                self.failed_action = action
                break
        if self.vm_id and (self.failed_action or random.random() < 0.5):
            response = self._send(client, "delete")
            # the audit requires proof that Nova lost a delete without an end
            assert response.status == 204 or response.code == TIMEOUT_CODE, (self.name, response)
        return self

    def _find_created_vm_id(self, client: RetryingClient, response: FinalResponse) -> str:
        """Return the id of the created VM; empty if Nova received no create before its deadline.

        A VM that appears after the deadline comes with a repeat under the same key.
        """
        end = time.monotonic() + LATE_VM_SECONDS
        while response.code == TIMEOUT_CODE and time.monotonic() < end:
            if vm_id := response.body.get("vm_id"):
                return str(vm_id)
            time.sleep(1)
            response = self._send(client, "create", response.key)
        return str(response.body.get("id", ""))

    def _send(self, client: RetryingClient, action: str, key: str = "") -> FinalResponse:
        if action == "create":
            response = client.change("POST", "/vms", {"name": self.name, **VM_OPTIONS}, key)
        elif action == "delete":
            response = client.change("DELETE", f"/vms/{self.vm_id}")
        else:
            response = client.change("POST", f"/vms/{self.vm_id}/{action}")
        self.responses[action] = response
        return response
