"""A GraphQL client of the app under test."""

from typing import Any

from werkzeug.test import TestResponse

from tests.support.api_harness import ApiHarness


def send_document(harness: ApiHarness, query: str, **variables: Any) -> TestResponse:
    """Send a document with the values of its variables."""
    return harness.client.post("/graphql", json={"query": query, "variables": variables})


def query_data(harness: ApiHarness, query: str, **variables: Any) -> Any:
    """Send a query that must succeed, and return its data."""
    response = send_document(harness, query, **variables)
    assert response.status_code == 200, response.text
    assert "errors" not in response.json, response.text
    return response.json["data"]


def query_error(harness: ApiHarness, query: str, **variables: Any) -> Any:
    """Send a query that must have one error, and return it."""
    (error,) = send_document(harness, query, **variables).json["errors"]
    return error
