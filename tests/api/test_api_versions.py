"""Two versions of the API side by side: they differ in one call, and share everything else."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.api_harness import CREATE_BODY, UNKNOWN_ID
from tests.support.second_version import V2
from vmapi.settings.limits import parse_rate_limits

KEY = {"Idempotency-Key": "of-both"}
PREFIXES = ["/api/v1", "/api/v2"]


@pytest.fixture
def client(serve_app: Callable[..., Flask]) -> FlaskClient:
    limits = parse_rate_limits("address", "1000/hour")
    return serve_app(other_versions=(V2,), rate_address=limits).test_client()


def get_json(client: FlaskClient, path: str) -> Any:
    response = client.get(path)
    assert response.status_code == 200, response.text
    return response.json


def test_versions_differ_in_one_call(client: FlaskClient) -> None:
    health = get_json(client, "/api/v1/health")
    assert (health["status"], health["version"]) == ("healthy", "v1")
    assert get_json(client, "/api/v2/health") == {"status": "pass"}


def test_documents_differ_in_one_path(client: FlaskClient) -> None:
    first = get_json(client, "/openapi.json")
    second = get_json(client, "/api/v2/openapi.json")
    assert client.get("/api/v1/openapi.json").status_code == 404
    assert "/api/v1/" not in " ".join(second["paths"])
    renamed = {path.replace("/api/v1/", "/api/v2/"): item for path, item in first["paths"].items()}
    assert list(renamed) == list(second["paths"])
    changed = {path for path, item in renamed.items() if item != second["paths"][path]}
    assert changed == {"/api/v2/health"}
    assert first["tags"] == second["tags"]
    assert "GET /api/v2/events" in second["info"]["description"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_urls_of_responses_have_the_version_of_the_request(
    client: FlaskClient, prefix: str
) -> None:
    created = client.post(f"{prefix}/vms", json=CREATE_BODY)
    assert created.headers["Location"] == f"{prefix}/vms/{created.json['id']}"
    assert created.headers["Operation-Location"].startswith(f"{prefix}/operations/")
    bulk = client.post(
        f"{prefix}/vms/actions", json={"action": "start", "ids": [created.json["id"]]}
    )
    assert bulk.headers["Operation-Location"].startswith(f"{prefix}/operations/")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_problems_have_the_version_of_the_request(client: FlaskClient, prefix: str) -> None:
    unknown = client.get(f"{prefix}/vms/{UNKNOWN_ID}").json
    assert unknown["instance"] == f"{prefix}/vms/{UNKNOWN_ID}"
    assert f"GET {prefix}/vms lists all VMs." in unknown["detail"]
    assert client.get(unknown["type"]).status_code == 200
    named = client.get(f"{prefix}/vms/web-1").json
    assert f"GET {prefix}/vms?name=web-1" in named["detail"]
    misspelt = client.get(f"{prefix}/vm").json
    assert f"Did you mean {prefix}/vms?" in misspelt["detail"]


def test_cached_page_links_to_the_next_page_of_its_version(client: FlaskClient) -> None:
    """The inventory has one page for both; the links differ."""
    for number in range(3):
        client.post("/api/v1/vms", json={**CREATE_BODY, "name": f"web-{number}"})
    for prefix in PREFIXES * 2:
        page = client.get(f"{prefix}/vms?page_size=1")
        assert page.json["next"].startswith(f"{prefix}/vms?cursor=")
        assert page.headers["Link"] == f'<{page.json["next"]}>; rel="next"'
        assert client.get(page.json["next"]).status_code == 200


def test_versions_share_vms_and_operations(client: FlaskClient) -> None:
    created = client.post("/api/v1/vms", json=CREATE_BODY)
    vm_id = created.json["id"]
    assert get_json(client, f"/api/v2/vms/{vm_id}") == get_json(client, f"/api/v1/vms/{vm_id}")
    operation = created.headers["Operation-Location"].replace("v1", "v2")
    assert get_json(client, operation)["vm_id"] == vm_id


def test_key_of_one_version_is_not_repeated_by_the_other(client: FlaskClient) -> None:
    assert client.post("/api/v1/vms", json=CREATE_BODY, headers=KEY).status_code == 201
    other = client.post("/api/v2/vms", json=CREATE_BODY, headers=KEY)
    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")
    assert get_json(client, "/api/v2/vms")["total"] == 1


def test_versions_share_rate_limits_and_exempt_the_health_check(client: FlaskClient) -> None:
    remaining = [client.get(f"{prefix}/flavors").headers["RateLimit"] for prefix in PREFIXES]
    assert [header.split(";r=")[1].split(";")[0] for header in remaining] == ["999", "998"]
    for prefix in PREFIXES:
        assert "RateLimit" not in client.get(f"{prefix}/health").headers


def test_entry_points_have_the_version_of_the_request(client: FlaskClient) -> None:
    for path in ("/", "/api/v1"):
        entry_points = get_json(client, path)
        assert (entry_points["api"], entry_points["openapi"]) == ("/api/v1", "/openapi.json")
    for path in ("/api/v2", "/api/v2/"):
        entry_points = get_json(client, path)
        assert (entry_points["api"], entry_points["openapi"]) == (
            "/api/v2",
            "/api/v2/openapi.json",
        )
