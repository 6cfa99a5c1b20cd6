"""Comparison of Nova and of the operations with the responses to clients."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.support.live.api_script import wait_for
from tests.support.live.retrying_client import RetryingClient
from tests.support.live.vm_scenario import VMScenario

UNFINISHED = ("pending", "running")
NOVA_ACTIONS = {"create": ("create", "stop"), "start": ("start",), "stop": ("stop",)}
"""The instance actions that Nova records for an action of vmapi."""
CODES_WITHOUT_CHANGE = {"backend_unavailable", "backend_timeout", "backend_error"}
CODES_WITH_CHANGE = {"operation_timeout", "backend_error", "build_failed", "no_capacity"}


class ConsistencyAudit:
    """Compares all servers and operations after the last change of the clients."""

    def __init__(self, admin: Any, run: str, client: RetryingClient) -> None:
        self._admin = admin
        self._run = run
        self._client = client

    def check(self, scenarios: Sequence[VMScenario]) -> Counter[str]:
        """Assert that nothing was lost, repeated or reported wrongly; count the outcomes."""
        wait_for(
            lambda: not any(self._client.list_operations(status=status) for status in UNFINISHED),
            300,
        )
        self._check_servers(scenarios)
        operations = self._client.list_operations()
        bound = [
            self._check_operation(scenario, action)
            for scenario in scenarios
            for action in scenario.responses
        ]
        succeeded = {o["id"] for o in operations if o["status"] == "succeeded"}
        assert succeeded <= {o["id"] for o in bound}, (
            "an operation succeeded that no client requested"
        )
        for scenario in scenarios:
            self._check_nova_actions(scenario)
        for operation in operations:
            has_key = operation["id"] in {bound_operation["id"] for bound_operation in bound}
            assert operation["status"] in ("succeeded", "failed"), operation
            assert operation["status"] == "succeeded" or has_key or _changed_nothing(operation), (
                operation
            )
        return Counter(_outcome_of(operation) for operation in operations)

    def _check_servers(self, scenarios: Sequence[VMScenario]) -> None:
        """Assert that each key has one server, in the state of the last response."""
        live_servers, deleted_servers = (
            self._list_servers(deleted=False),
            self._list_servers(deleted=True),
        )
        names = Counter(server["name"] for server in (*live_servers, *deleted_servers))
        scenarios = [s for s in scenarios if s.name in names or not s.may_be_lost_in_nova]
        assert names == Counter(scenario.name for scenario in scenarios), names
        assert {server["id"] for server in deleted_servers} == {
            s.vm_id for s in scenarios if s.is_deleted
        }
        assert {server["id"] for server in live_servers} == {
            s.vm_id for s in scenarios if not s.is_deleted
        }
        for server in live_servers:
            scenario = _scenario_of(scenarios, server["name"])
            if scenario.has_delete_timed_out:
                self._check_lost_delete(server)
            else:
                state = (server["status"], server["OS-EXT-STS:task_state"])
                assert state == ("SHUTOFF", None), server
            operation = self._check_operation(scenario, "create")
            assert any(tag.endswith(operation["id"]) for tag in server["tags"]), server

    def _check_lost_delete(self, server: Any) -> None:
        """Assert that Nova's API died between its mark on the server and the cast to the host.

        Nova ignores each further delete of a server with the task `deleting`. The host records an
        event for each delete that reaches it.
        """
        assert server["OS-EXT-STS:task_state"] == "deleting", server
        path = f"/servers/{server['id']}/os-instance-actions"
        for record in self._read_nova(path)["instanceActions"]:
            if record["action"] == "delete":
                action = self._read_nova(f"{path}/{record['request_id']}")["instanceAction"]
                assert action["events"] == [], (server, action)

    def _list_servers(self, *, deleted: bool) -> list[Any]:
        query = {"all_tenants": True, "name": self._run} | ({"deleted": True} if deleted else {})
        return list(self._read_nova("/servers/detail", query)["servers"])

    def _check_operation(self, scenario: VMScenario, action: str) -> Any:
        """Return the operation of an idempotency key, and check it against the response."""
        (operation,) = self._client.list_operations(idempotency_key=scenario.responses[action].key)
        failed = action == scenario.failed_action or (
            action == "delete" and scenario.has_delete_timed_out
        )
        expected = (action, scenario.vm_id or None, "failed" if failed else "succeeded")
        assert (operation["action"], operation["vm_id"], operation["status"]) == expected, operation
        assert (operation["error"] or {}).get("code") in (
            CODES_WITH_CHANGE if failed else {None}
        ), operation
        return operation

    def _check_nova_actions(self, scenario: VMScenario) -> None:
        """Assert that Nova received each change once."""
        if not scenario.vm_id:
            # no server has its name
            return
        path = f"/servers/{scenario.vm_id}/os-instance-actions"
        response = self._admin.compute.get(path, microversion="2.60")
        if response.status_code == 404 and scenario.may_be_lost_in_nova:
            return
        records = [record["action"] for record in self._read(response)["instanceActions"]]
        expected = [name for action in scenario.responses for name in NOVA_ACTIONS.get(action, ())]
        if not scenario.failed_action:
            actions = [name for name in reversed(records) if name != "delete"]
            assert actions == expected, (scenario, records)
        assert records.count("create") == 1, (scenario, records)
        if not scenario.has_delete_timed_out:
            assert ("delete" in records) == scenario.is_deleted, (scenario, records)

    def _read_nova(self, path: str, query: Any = None) -> Any:
        return self._read(self._admin.compute.get(path, params=query, microversion="2.60"))

    def _read(self, response: Any) -> Any:
        assert response.status_code == 200, response.text
        return response.json()


def _changed_nothing(operation: Any) -> bool:
    is_created = operation["action"] == "create" and operation["vm_id"] is not None
    return operation["error"]["code"] in CODES_WITHOUT_CHANGE and not is_created


def _scenario_of(scenarios: Sequence[VMScenario], name: str) -> VMScenario:
    return next(scenario for scenario in scenarios if scenario.name == name)


def _outcome_of(operation: Any) -> str:
    code = f" {operation['error']['code']}" if operation["error"] else ""
    return f"{operation['action']} {operation['status']}{code}"
