"""The calls of the Python client: both clients have the same, and all of the API is covered."""

import inspect
import re
from typing import Any

import pytest

from vmapi_client import AsyncClient, Client
from vmapi_client.aio.operations import AsyncOperations
from vmapi_client.aio.vms import AsyncVMs
from vmapi_client.sync.operations import Operations
from vmapi_client.sync.vms import VMs

PAIRS = [(Client, AsyncClient), (VMs, AsyncVMs), (Operations, AsyncOperations)]
CALLS = {
    "create_vm": VMs.create,
    "list_vms": VMs.list,
    "get_vm": VMs.get,
    "update_vm": VMs.update,
    "delete_vm": VMs.delete,
    "get_vm_status": VMs.wait_for,
    "get_vm_console": VMs.console,
    "start_vm": VMs.start,
    "stop_vm": VMs.stop,
    "restart_vm": VMs.restart,
    "pause_vm": VMs.pause,
    "resume_vm": VMs.resume,
    "act_on_vms": VMs.bulk,
    "list_operations": Operations.list,
    "get_operation": Operations.get,
    "listen_to_events": Client.events,
    "list_flavors": Client.flavors,
    "list_images": Client.images,
    "list_networks": Client.networks,
    "get_quota": Client.quota,
    "list_audit": Client.audit,
    "get_health": Client.health,
    "get_readyz": Client.readiness,
}
UNUSED_OPERATIONS = {"get_livez", "list_problems", "get_problem"}
OTHER_NAMES = {"listen_to_events": {"last_event_id", "wait", "limit"}}
RENAMED = {"kind": "kinds", "vm_id": "vm_ids"}
PAGING = {"page", "cursor"}


def public_methods(cls: type) -> dict[str, Any]:
    members = inspect.getmembers(cls, inspect.isfunction)
    return {name: member for name, member in members if not name.startswith("_")}


@pytest.mark.parametrize(("threads", "coroutines"), PAIRS)
def test_both_clients_have_the_same_methods(threads: type, coroutines: type) -> None:
    expected, actual = public_methods(threads), public_methods(coroutines)
    assert set(actual) == set(expected)
    for name, method in expected.items():
        assert parameters(actual[name]) == parameters(method)
        returned = str(inspect.signature(method).return_annotation)
        # the generators with threads have a third parameter
        returned, iterates = re.subn(
            r"Generator\[(.+), None, None\]", r"AsyncGenerator[\1, None]", returned
        )
        assert inspect.iscoroutinefunction(actual[name]) is not bool(iterates)
        assert str(inspect.signature(actual[name]).return_annotation) == returned


def parameters(method: Any) -> list[Any]:
    return [*inspect.signature(method).parameters.values()]


def test_each_operation_of_the_document_has_a_method(document: Any) -> None:
    operations = [
        operation
        for path in document["paths"].values()
        for method, operation in path.items()
        if method in ("get", "post", "patch", "delete")
    ]
    assert {item["operationId"] for item in operations} == set(CALLS) | UNUSED_OPERATIONS
    shared = document["components"].get("parameters", {})
    for operation in operations:
        call = CALLS.get(operation["operationId"])
        if call is not None:
            named = (
                shared[item["$ref"].rpartition("/")[2]] if "$ref" in item else item
                for item in operation.get("parameters", [])
            )
            expected = {item["name"] for item in named if item["in"] == "query"}
            check_parameters(call, operation["operationId"], expected)


def check_parameters(call: Any, name: str, query: set[str]) -> None:
    accepted = set(inspect.signature(call).parameters)
    if name == "listen_to_events":
        query = {RENAMED.get(parameter, parameter) for parameter in query}
    missing = query - accepted - PAGING - OTHER_NAMES.get(name, set())
    assert missing == set(), name


def test_create_has_all_members_of_its_schema(document: Any) -> None:
    members = document["components"]["schemas"]["CreateVM"]["properties"]
    assert set(members) <= set(inspect.signature(VMs.create).parameters)
