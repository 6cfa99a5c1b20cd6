"""The details of problems: they name the parameter, the path, and what exists."""

from typing import Any

import pytest

from tests.support.api_harness import BASE, CREATE_BODY, UNKNOWN_ID, ApiHarness
from tests.support.openapi_document import resolve_references

VM_FIELDS = (
    "flavor, image, key_name, metadata, name, network, security_groups, ssh_keys, start, user_data"
)
FILTERS = "created_after, created_before, flavor, image, name, selector, status, updated_after"


def refuse(harness: ApiHarness, method: str, path: str, **options: Any) -> Any:
    response = harness.call(method, path, **options)
    assert response.status_code in (404, 405, 422), response.text
    return response.json


@pytest.mark.parametrize(
    ("query", "detail", "pointer"),
    [
        ("/vms?page=x", "page: Must be a whole number of at least 1.", "/page"),
        ("/vms?page=1&page=2", "page: Must not be repeated.", "/page"),
        ("/vms?status=NONE", "status: Must be one of: BUILDING", "/status/0"),
        ("/vms?cursor=x", "cursor: The cursor is not one that vmapi", "/cursor"),
        ("/vms?cursor=x&page=2", "page: Must not be combined with cursor", "/page"),
        ("/vms?page=999&page_size=999", "page: page x page_size must be", "/page"),
        ("/flavors?a%2Fb~=1", "a/b~: Unknown parameter. There are none here.", "/a~1b~0"),
        (
            "/events?vmid=x",
            "vmid: Unknown parameter. The parameters are: kind, last_event_id, ",
            "/vmid",
        ),
    ],
)
def test_detail_of_a_query_error_names_the_parameter(
    harness: ApiHarness, query: str, detail: str, pointer: str
) -> None:
    problem = refuse(harness, "GET", query)
    assert problem["detail"].startswith(f"Parameter {detail}")
    assert problem["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("path", ["/vms", "/operations", "/audit", "/events"])
def test_unknown_parameter_lists_the_parameters(harness: ApiHarness, path: str) -> None:
    separator = "&" if "?" in path else "?"
    problem = refuse(harness, "GET", f"{path}{separator}nmae=x")
    (error,) = (error for error in problem["errors"] if error["pointer"] == "/nmae")
    parameters = error["message"].partition("The parameters are: ")[2].rstrip(".").split(", ")
    document: Any = harness.client.get("/openapi.json").json
    operation = document["paths"][f"{BASE}{path.partition('?')[0]}"]["get"]
    described = resolve_references(document, operation)["parameters"]
    assert parameters == sorted(item["name"] for item in described if item["in"] == "query")


@pytest.mark.parametrize(
    ("path", "query", "bounds"),
    [
        (f"/vms/{UNKNOWN_ID}/console", "lines=-3", "from 1 to 10000"),
        (f"/vms/{UNKNOWN_ID}/console", "lines=10001", "from 1 to 10000"),
        ("/vms", "page_size=0", "from 1 to 1000"),
        ("/vms", "page=1.5", "of at least 1"),
        ("/audit", "page_size=x", "from 1 to 1000"),
        ("/events", "limit=0", "from 1 to 10000"),
        ("/events", "wait=-1", "from 1 to 86400"),
    ],
)
def test_wrong_number_states_the_limits(
    harness: ApiHarness, path: str, query: str, bounds: str
) -> None:
    name = query.partition("=")[0]
    detail = refuse(harness, "GET", f"{path}?{query}")["detail"]
    assert detail == f"Parameter {name}: Must be a whole number {bounds}."


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("POST", "/vms", {"json": {"name": 1, "flavor": "", "nmae": 1}}),
        ("GET", "/vms?page=x&sort=x&status=x&nmae=x", {}),
    ],
)
def test_detail_counts_the_other_errors(
    harness: ApiHarness, method: str, path: str, options: Any
) -> None:
    problem = refuse(harness, method, path, **options)
    message = problem["errors"][0]["message"]
    assert len(problem["errors"]) == 4
    assert problem["detail"].endswith(f": {message} (and 3 more in errors)")


@pytest.mark.parametrize(
    ("path", "value", "is_list"),
    [
        ("/vms", "status=RUNNING,STOPPED", True),
        ("/vms", "status=RUNNING&status=ERROR,PAUSED", True),
        ("/events", "kind=vm.created,vm.deleted", True),
        ("/vms", "status=NONE", False),
        ("/vms", "sort=name,-name", False),
    ],
)
def test_list_in_one_parameter_is_to_be_repeated(
    harness: ApiHarness, path: str, value: str, is_list: bool
) -> None:
    detail = refuse(harness, "GET", f"{path}?{value}")["detail"]
    assert detail.endswith(" For several values, repeat the parameter.") == is_list


@pytest.mark.parametrize(
    ("method", "path", "body", "detail"),
    [
        *(("POST", "/vms", body, "The request: Must be a JSON object.") for body in ([], "x", 1)),
        ("PATCH", f"/vms/{UNKNOWN_ID}", [], "The request: Must be a JSON object."),
        ("POST", f"/vms/{UNKNOWN_ID}/restart", [1], "The request: Must be a JSON object."),
        (
            "POST",
            "/vms/actions",
            {"action": "stop", "filter": "x"},
            "/filter: Must be a JSON object.",
        ),
        ("POST", "/vms/actions", {"action": "stop", "ids": "x"}, "/ids: Must be a list."),
        ("POST", "/vms", {**CREATE_BODY, "ssh_keys": {}}, "/ssh_keys: Must be a list."),
        (
            "POST",
            "/vms/actions",
            {"action": "stop"},
            "/ids: Send exactly one of ids and filter.",
        ),
        (
            "POST",
            "/vms/actions",
            {"action": "stop", "ids": ["x"], "filter": {"name": "x"}},
            "/ids: Send exactly one of ids and filter.",
        ),
    ],
)
def test_wrong_type_names_the_right_one(
    harness: ApiHarness, method: str, path: str, body: Any, detail: str
) -> None:
    assert refuse(harness, method, path, json=body)["detail"] == detail


@pytest.mark.parametrize("name", ["web-2", "web_2.example"])
def test_name_among_the_ids_of_a_bulk_action_is_searchable(harness: ApiHarness, name: str) -> None:
    response = harness.post("/vms/actions", {"action": "stop", "ids": [name, UNKNOWN_ID]})
    by_name, by_id = (item["error"]["detail"] for item in response.json["items"])
    assert by_name.endswith(f"If it is a name, GET {BASE}/vms?name={name} finds the id.")
    assert by_id.endswith(f"GET {BASE}/vms lists all VMs.")
    bulk = harness.get_json(f"/operations/{response.json['operation_id']}")["bulk"]
    assert bulk["items"][0]["error"]["detail"] == by_name


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"key_name": "nokey"}, "There is no key pair nokey."),
        ({"security_groups": ["default", "y"]}, "There is no security group y."),
    ],
)
def test_missing_item_without_a_list_is_named(
    harness: ApiHarness, fields: Any, detail: str
) -> None:
    problem = refuse(harness, "POST", "/vms", json={**CREATE_BODY, **fields})
    assert problem["detail"].startswith(detail)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/vms", {**CREATE_BODY, "nmae": 1}, f"/nmae: Unknown field. The fields are: {VM_FIELDS}."),
        (
            "/vms/actions",
            {"action": "stop", "filter": {"nmae": "x"}},
            f"/filter/nmae: Unknown field. The fields are: {FILTERS}.",
        ),
    ],
)
def test_unknown_field_lists_the_fields(
    harness: ApiHarness, path: str, body: Any, message: str
) -> None:
    assert refuse(harness, "POST", path, json=body)["detail"] == message


@pytest.mark.parametrize(
    ("method", "path", "detail"),
    [
        ("DELETE", "/vms", "Method DELETE is not allowed here; allowed: GET, HEAD, OPTIONS, POST."),
        ("POST", "/flavors", "Method POST is not allowed here; allowed: GET, HEAD, OPTIONS."),
        ("GET", "/vms/actions", "Method GET is not allowed here; allowed: OPTIONS, POST."),
    ],
)
def test_wrong_method_lists_the_allowed_ones(
    harness: ApiHarness, method: str, path: str, detail: str
) -> None:
    assert refuse(harness, method, path)["detail"] == detail


@pytest.mark.parametrize("name", ["web-2", "web_2.example", "a" * 36])
@pytest.mark.parametrize(("method", "suffix"), [("GET", ""), ("POST", "/stop"), ("DELETE", "")])
def test_name_in_place_of_an_id_is_searchable(
    harness: ApiHarness, name: str, method: str, suffix: str
) -> None:
    problem = refuse(harness, method, f"/vms/{name}{suffix}")
    assert problem["detail"] == (
        "There is no such VM: its id is not a UUID. "
        f"If it is a name, GET {BASE}/vms?name={name} finds the id."
    )
    assert harness.get_json(f"/vms?name={name}")["items"] == []


@pytest.mark.parametrize(
    ("method", "path", "fields", "hint"),
    [
        ("POST", "/vms", {"flavor": "m9"}, f"GET {BASE}/flavors lists all flavors."),
        ("POST", "/vms", {"image": "m9"}, f"GET {BASE}/images lists all images."),
        ("POST", "/vms", {"network": "m9"}, f"GET {BASE}/networks lists all networks."),
        ("GET", f"/vms/{UNKNOWN_ID}", None, f"GET {BASE}/vms lists all VMs."),
        ("GET", "/operations/x", None, f"GET {BASE}/operations lists all operations."),
    ],
)
def test_missing_resource_names_the_list_of_all(
    harness: ApiHarness, method: str, path: str, fields: Any, hint: str
) -> None:
    body = fields and {**CREATE_BODY, **fields}
    problem = refuse(harness, method, path, json=body)
    assert problem["detail"].endswith(f". {hint}")
    assert harness.client.get(hint.split()[1]).status_code == 200
