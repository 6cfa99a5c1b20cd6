"""Holding Nova, and the operations, against what clients were told."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.support.live.api_script import until
from tests.support.live.retrying_client import Client
from tests.support.live.vm_scenario import Life

UNFINISHED = ("pending", "running")
RECORDS = {"create": ("create", "stop"), "start": ("start",), "stop": ("stop",)}
"""What Nova records of an action of ours."""
CHANGED_NOTHING = {"backend_unavailable", "backend_timeout", "backend_error"}
CHANGED = {"operation_timeout", "backend_error", "build_failed", "no_capacity"}


class Audit:
    """Looks at everything, once nobody changes anything any more."""

    def __init__(self, admin: Any, run: str, client: Client) -> None:
        self._admin = admin
        self._run = run
        self._client = client

    def check(self, lives: Sequence[Life]) -> Counter[str]:
        """Raise where something was lost, doubled or told wrong; count how operations ended."""
        until(lambda: not any(self._client.operations(status=each) for each in UNFINISHED), 300)
        self._servers(lives)
        operations = self._client.operations()
        bound = [self._of_key(life, action) for life in lives for action in life.told]
        succeeded = {each["id"] for each in operations if each["status"] == "succeeded"}
        assert succeeded <= {each["id"] for each in bound}, "something was done that nobody asked"
        for life in lives:
            self._recorded(life)
        for each in operations:
            kept = each["id"] in {one["id"] for one in bound}
            assert each["status"] in ("succeeded", "failed"), each
            assert each["status"] == "succeeded" or kept or _changed_nothing(each), each
        return Counter(_told(each) for each in operations)

    def _servers(self, lives: Sequence[Life]) -> None:
        """See that each key has one server, in the state that the last answer told."""
        live, gone = self._find(deleted=False), self._find(deleted=True)
        found = Counter(server["name"] for server in (*live, *gone))
        lives = [each for each in lives if each.name in found or not each.may_be_buried]
        assert found == Counter(life.name for life in lives), found
        assert {server["id"] for server in gone} == {each.vm_id for each in lives if each.deleted}
        assert {server["id"] for server in live} == {
            each.vm_id for each in lives if not each.deleted
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

    def _of_key(self, life: Life, action: str) -> Any:
        """Return the operation that a key is bound to, after a look at what it says."""
        (operation,) = self._client.operations(idempotency_key=life.told[action].key)
        failed = life.broken == action
        expected = (action, life.vm_id, "failed" if failed else "succeeded")
        assert (operation["action"], operation["vm_id"], operation["status"]) == expected, operation
        assert (operation["error"] or {}).get("code") in (CHANGED if failed else {None}), operation
        return operation

    def _recorded(self, life: Life) -> None:
        """See that Nova was asked for each change once."""
        path = f"/servers/{life.vm_id}/os-instance-actions"
        answer = self._admin.compute.get(path, microversion="2.60")
        if answer.status_code == 404 and life.may_be_buried:
            return
        records = [each["action"] for each in self._read(answer)["instanceActions"]]
        expected = [name for action in life.told for name in RECORDS.get(action, ())]
        if not life.broken:
            found = [name for name in reversed(records) if name != "delete"]
            assert found == expected, (life, records)
        assert records.count("create") == 1, (life, records)
        assert ("delete" in records) == life.deleted, (life, records)

    def _nova(self, path: str, asked: Any) -> Any:
        return self._read(self._admin.compute.get(path, params=asked, microversion="2.60"))

    def _read(self, answer: Any) -> Any:
        assert answer.status_code == 200, answer.text
        return answer.json()


def _changed_nothing(operation: Any) -> bool:
    made = operation["action"] == "create" and operation["vm_id"] is not None
    return operation["error"]["code"] in CHANGED_NOTHING and not made


def _named(lives: Sequence[Life], name: str) -> Life:
    return next(life for life in lives if life.name == name)


def _told(operation: Any) -> str:
    code = f" {operation['error']['code']}" if operation["error"] else ""
    return f"{operation['action']} {operation['status']}{code}"
