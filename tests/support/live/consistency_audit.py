"""Holding Nova, and the operations, against what clients were told."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.support.live.api_script import wait_for
from tests.support.live.retrying_client import RetryingClient
from tests.support.live.vm_scenario import VMScenario

UNFINISHED = ("pending", "running")
NOVA_ACTIONS = {"create": ("create", "stop"), "start": ("start",), "stop": ("stop",)}
"""What Nova records of an action of ours."""
CODES_WITHOUT_CHANGE = {"backend_unavailable", "backend_timeout", "backend_error"}
CODES_WITH_CHANGE = {"operation_timeout", "backend_error", "build_failed", "no_capacity"}


class ConsistencyAudit:
    """Looks at everything, once nobody changes anything any more."""

    def __init__(self, admin: Any, run: str, client: RetryingClient) -> None:
        self._admin = admin
        self._run = run
        self._client = client

    def check(self, lives: Sequence[VMScenario]) -> Counter[str]:
        """Raise where something was lost, doubled or told wrong; count how operations ended."""
        wait_for(
            lambda: not any(self._client.list_operations(status=each) for each in UNFINISHED), 300
        )
        self._servers(lives)
        operations = self._client.list_operations()
        bound = [self._of_key(life, action) for life in lives for action in life.responses]
        succeeded = {each["id"] for each in operations if each["status"] == "succeeded"}
        assert succeeded <= {each["id"] for each in bound}, "something was done that nobody asked"
        for life in lives:
            self._recorded(life)
        for each in operations:
            kept = each["id"] in {one["id"] for one in bound}
            assert each["status"] in ("succeeded", "failed"), each
            assert each["status"] == "succeeded" or kept or _changed_nothing(each), each
        return Counter(_told(each) for each in operations)

    def _servers(self, lives: Sequence[VMScenario]) -> None:
        """See that each key has one server, in the state that the last answer told."""
        live, gone = self._find(deleted=False), self._find(deleted=True)
        found = Counter(server["name"] for server in (*live, *gone))
        lives = [each for each in lives if each.name in found or not each.may_be_lost_in_nova]
        assert found == Counter(life.name for life in lives), found
        assert {server["id"] for server in gone} == {
            each.vm_id for each in lives if each.is_deleted
        }
        assert {server["id"] for server in live} == {
            each.vm_id for each in lives if not each.is_deleted
        }
        for server in live:
            state = (server["status"], server["OS-EXT-STS:task_state"])
            assert state == ("SHUTOFF", None), server
            operation = self._of_key(_named(lives, server["name"]), "create")
            assert any(tag.endswith(operation["id"]) for tag in server["tags"]), server

    def _find(self, *, deleted: bool) -> list[Any]:
        asked = {"all_tenants": True, "name": self._run} | ({"deleted": True} if deleted else {})
        found = self._nova("/servers/detail", asked)["servers"]
        return list(found)

    def _of_key(self, life: VMScenario, action: str) -> Any:
        """Return the operation that a key is bound to, after a look at what it says."""
        (operation,) = self._client.list_operations(idempotency_key=life.responses[action].key)
        failed = life.failed_action == action
        expected = (action, life.vm_id, "failed" if failed else "succeeded")
        assert (operation["action"], operation["vm_id"], operation["status"]) == expected, operation
        assert (operation["error"] or {}).get("code") in (
            CODES_WITH_CHANGE if failed else {None}
        ), operation
        return operation

    def _recorded(self, life: VMScenario) -> None:
        """See that Nova was asked for each change once."""
        path = f"/servers/{life.vm_id}/os-instance-actions"
        response = self._admin.compute.get(path, microversion="2.60")
        if response.status_code == 404 and life.may_be_lost_in_nova:
            return
        records = [each["action"] for each in self._read(response)["instanceActions"]]
        expected = [name for action in life.responses for name in NOVA_ACTIONS.get(action, ())]
        if not life.failed_action:
            found = [name for name in reversed(records) if name != "delete"]
            assert found == expected, (life, records)
        assert records.count("create") == 1, (life, records)
        assert ("delete" in records) == life.is_deleted, (life, records)

    def _nova(self, path: str, asked: Any) -> Any:
        return self._read(self._admin.compute.get(path, params=asked, microversion="2.60"))

    def _read(self, response: Any) -> Any:
        assert response.status_code == 200, response.text
        return response.json()


def _changed_nothing(operation: Any) -> bool:
    made = operation["action"] == "create" and operation["vm_id"] is not None
    return operation["error"]["code"] in CODES_WITHOUT_CHANGE and not made


def _named(lives: Sequence[VMScenario], name: str) -> VMScenario:
    return next(life for life in lives if life.name == name)


def _told(operation: Any) -> str:
    code = f" {operation['error']['code']}" if operation["error"] else ""
    return f"{operation['action']} {operation['status']}{code}"
