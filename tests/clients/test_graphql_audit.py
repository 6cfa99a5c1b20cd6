"""The endpoint /graphql conforms to the specification "GraphQL over HTTP"."""

import json

from tests.support.openapi_tools import OpenapiTools


def test_audit_suite_reports_nothing(tools: OpenapiTools) -> None:
    audit = json.loads(tools.run("node", "graphql_audit.js"))
    assert audit["count"] > 50
    assert audit["reports"] == []
