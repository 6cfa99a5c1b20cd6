"""The life of one VM as a client leads it, and what the client was told of it."""

import random
from dataclasses import dataclass, field

from tests.support.live.retrying_client import Client, Told

WANTED = {"flavor": "m1.tiny", "image": "debian-12", "network": "private"}
STEPS = (("create", 201, "STOPPED"), ("start", 200, "RUNNING"), ("stop", 200, "STOPPED"))
LATE = "operation_timeout"


@dataclass
class Life:
    """`told` has the last word on each action; one that went wrong in Nova is in `broken`."""

    name: str
    vm_id: str = ""
    told: dict[str, Told] = field(default_factory=dict)
    broken: str = ""

    @property
    def deleted(self) -> bool:
        """Whether the client has deleted the VM."""
        return "delete" in self.told

    @property
    def may_be_buried(self) -> bool:
        """Whether Nova may have died before it told its hosts of the VM, and so forgot it."""
        return self.deleted and self.told["create"].code == LATE

    def lead(self, client: Client) -> "Life":
        """Create, start and stop it; delete every other one, and those that Nova has failed."""
        for action, status, goal in STEPS:
            told = self._ask(client, action)
            if action == "create":
                # one whose deadline came first has left a VM all the same
                assert told.status == 201 or told.code == LATE, (self.name, told)
                self.vm_id = told.answer["vm_id" if told.code == LATE else "id"]
            if (told.status, told.answer.get("status")) != (status, goal):
                assert told.status >= 500 or told.answer.get("fault"), (self.name, action, told)
                self.broken = action
                break
        if self.broken or random.random() < 0.5:
            told = self._ask(client, "delete")
            assert told.status == 204, (self.name, told)
        return self

    def _ask(self, client: Client, action: str) -> Told:
        if action == "create":
            told = client.change("POST", "/vms", {"name": self.name, **WANTED})
        elif action == "delete":
            told = client.change("DELETE", f"/vms/{self.vm_id}")
        else:
            told = client.change("POST", f"/vms/{self.vm_id}/{action}")
        self.told[action] = told
        return told
