"""Invalid, unknown and repeated query parameters."""

import pytest

from tests.support.api_harness import CREATE_BODY, UNKNOWN_ID, ApiHarness
from tests.support.hostile_texts import SCRIPT, SQL
from tests.support.problem_responses import check_problem

FILTERS = {
    "/vms": (
        *("status", "name", "flavor", "image", "created_after", "created_before", "updated_after"),
        "selector",
        *("sort", "page", "page_size"),
    ),
    "/operations": ("vm_id", "action", "status", "page", "page_size"),
    f"/vms/{UNKNOWN_ID}/console": ("lines",),
}
FREE_TEXT_FILTERS = {"name", "flavor", "image", "vm_id"}
"""Filters that accept any text; an unusual text matches nothing."""


@pytest.mark.parametrize(
    "value", [SCRIPT, SQL, "%00", "%ff", "x" * 256, "", "%ED%A0%80", "{}", "*"]
)
@pytest.mark.parametrize(
    ("path", "name"), [(p, name) for p, names in FILTERS.items() for name in names]
)
def test_unusual_filter_value_matches_nothing_or_is_refused(
    harness: ApiHarness, path: str, name: str, value: str
) -> None:
    response = harness.call("GET", f"{path}?{name}={value}")
    is_wildcard = value == "*" and name in ("flavor", "image")
    if name in FREE_TEXT_FILTERS and not is_wildcard and value not in ("%00", "x" * 256, ""):
        assert (response.status_code, response.json["total"]) == (200, 0)
        return
    problem = check_problem(response, 422, "validation_error")
    assert problem["errors"][0]["pointer"].startswith(f"/{name}")


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        *(("/vms", "status", value) for value in ("running", "__class__", "mro", "_member_map_")),
        *(("/vms", "sort", value) for value in ("id", "+name", "name,created_at", "__class__")),
        *(("/vms", "page", value) for value in ("-1", "1.0", "1e1", "٣", "9" * 30, "0x1", "+1")),
        *(("/operations", "action", value) for value in ("START", "boot", "__class__")),
        *(("/operations", "status", value) for value in ("RUNNING", "done")),
        *((f"/vms/{UNKNOWN_ID}/console", "lines", value) for value in ("0", "10001", "-1", "all")),
    ],
)
def test_invalid_query_value_is_refused(
    harness: ApiHarness, path: str, name: str, value: str
) -> None:
    problem = check_problem(
        harness.call("GET", path, query_string={name: value}), 422, "validation_error"
    )
    assert problem["errors"][0]["pointer"].startswith(f"/{name}")


@pytest.mark.parametrize("path", ["/vms", "/operations"])
def test_page_limits_are_enforced(harness: ApiHarness, path: str) -> None:
    for page, message in (
        (0, "Must be a whole number of at least 1."),
        (201, "page x page_size must be at most 10000. Follow next to reach later items."),
        (10**17, "page x page_size must be at most 10000. Follow next to reach later items."),
    ):
        problem = check_problem(harness.call("GET", f"{path}?page={page}"), 422, "validation_error")
        assert problem["errors"] == [{"pointer": "/page", "message": message}]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (p, name)
        for p, names in FILTERS.items()
        for name in names
        if (p, name) != ("/vms", "status")
    ],
)
def test_repeated_parameter_is_refused(harness: ApiHarness, path: str, name: str) -> None:
    problem = check_problem(
        harness.call("GET", f"{path}?{name}=1&{name}=1"), 422, "validation_error"
    )
    assert problem["errors"] == [{"pointer": f"/{name}", "message": "Must not be repeated."}]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", path) for path in (*FILTERS, "/flavors", "/images", "/networks", "/health")),
        *(("GET", f"/vms/{UNKNOWN_ID}{path}") for path in ("", "/status")),
        ("GET", "/operations/x"),
        ("POST", "/vms"),
        ("PATCH", f"/vms/{UNKNOWN_ID}"),
        ("DELETE", f"/vms/{UNKNOWN_ID}"),
        *(
            ("POST", f"/vms/{UNKNOWN_ID}/{action}")
            for action in ("start", "stop", "restart", "pause", "resume")
        ),
    ],
)
def test_unknown_parameter_is_refused(harness: ApiHarness, method: str, path: str) -> None:
    body = (
        {"json": {**CREATE_BODY} if path == "/vms" else {}} if method in ("POST", "PATCH") else {}
    )
    problem = check_problem(harness.call(method, f"{path}?nmae=1", **body), 422, "validation_error")
    assert [error["pointer"] for error in problem["errors"]] == ["/nmae"]


def test_unknown_parameter_of_probe_is_refused(harness: ApiHarness) -> None:
    for path in ("/livez", "/readyz", "/problems/forbidden"):
        check_problem(harness.client.get(path + "?a=1"), 422, "validation_error")
