"""The client library graphql-sse receives events from /graphql, and the results of queries."""

import json

from tests.support.openapi_tools import OpenapiTools


def test_library_receives_events_until_it_leaves(tools: OpenapiTools) -> None:
    received = json.loads(tools.run("node", "graphql_events.js"))
    reset, created, *changes, ended = received["kinds"]
    assert (reset, created, ended) == ("EVENTS_RESET", "VM_CREATED", "OPERATION_SUCCEEDED")
    assert set(changes) <= {"VM_CHANGED"}
    assert received["queried"] == [{"vms": {"totalCount": 1}}]
