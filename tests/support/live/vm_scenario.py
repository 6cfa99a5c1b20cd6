"""The life of one VM as a client leads it, and what the client was told of it."""

import random
from dataclasses import dataclass, field

from tests.support.live.retrying_client import FinalResponse, RetryingClient

VM_OPTIONS = {"flavor": "m1.tiny", "image": "debian-12", "network": "private"}
STEPS = (("create", 201, "STOPPED"), ("start", 200, "RUNNING"), ("stop", 200, "STOPPED"))
TIMEOUT_CODE = "operation_timeout"


@dataclass
class VMScenario:
    """`told` has the last word on each action; one that went wrong in Nova is in `broken`."""

    name: str
    vm_id: str = ""
    responses: dict[str, FinalResponse] = field(default_factory=dict)
    failed_action: str = ""

    @property
    def is_deleted(self) -> bool:
        """Whether the client has deleted the VM."""
        return "delete" in self.responses

    @property
    def may_be_lost_in_nova(self) -> bool:
        """Whether Nova may have died before it told its hosts of the VM, and so forgot it."""
        return self.is_deleted and self.responses["create"].code == TIMEOUT_CODE

    def run(self, client: RetryingClient) -> "VMScenario":
        """Create, start and stop it; delete every other one, and those that Nova has failed."""
        for action, status, goal in STEPS:
            told = self._send(client, action)
            if action == "create":
                # one whose deadline came first has left a VM all the same
                assert told.status == 201 or told.code == TIMEOUT_CODE, (self.name, told)
                self.vm_id = told.body["vm_id" if told.code == TIMEOUT_CODE else "id"]
            if (told.status, told.body.get("status")) != (status, goal):
                assert told.status >= 500 or told.body.get("fault"), (self.name, action, told)
                self.failed_action = action
                break
        if self.failed_action or random.random() < 0.5:
            told = self._send(client, "delete")
            assert told.status == 204, (self.name, told)
        return self

    def _send(self, client: RetryingClient, action: str) -> FinalResponse:
        if action == "create":
            told = client.change("POST", "/vms", {"name": self.name, **VM_OPTIONS})
        elif action == "delete":
            told = client.change("DELETE", f"/vms/{self.vm_id}")
        else:
            told = client.change("POST", f"/vms/{self.vm_id}/{action}")
        self.responses[action] = told
        return told
