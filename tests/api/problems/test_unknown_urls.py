"""URLs and methods without an endpoint: 404 and 405."""

import pytest

from tests.support.api_harness import BASE, UNKNOWN_ID, ApiHarness
from tests.support.hostile_texts import SCRIPT, SQL
from tests.support.problem_responses import check_problem


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/nothing",
            "/vm",
            "/vms/a/b/c",
            f"/vms/{UNKNOWN_ID}/reboot",
            f"/vms/{UNKNOWN_ID}/%2e%2e/health",
        ),
        *(
            "//vms",
            f"//vms/{UNKNOWN_ID}",
            f"/vms//{UNKNOWN_ID}",
            "/vms%2Fx%2Fy",
            "/VMS",
            "/vms;a=b",
        ),
        *("/" + "x" * 10_000, "/%00", "/%ff", "/\u202e", "/vms.json", "/../../etc/passwd"),
    ],
    ids=lambda path: path[:20],
)
def test_unknown_url_is_404(harness: ApiHarness, path: str) -> None:
    check_problem(harness.call("GET", path), 404, "not_found")


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize("path", ["//api/v1/vms", "///api/v1/vms", "//livez", "//", "//nothing"])
def test_url_with_slashes_before_the_path_is_404(
    harness: ApiHarness, method: str, path: str
) -> None:
    response = harness.client.open("/", method=method, environ_overrides={"PATH_INFO": path})
    assert check_problem(response, 404, "not_found")["instance"] == f"/{path.lstrip(chr(47))}"


@pytest.mark.parametrize(
    "vm_id",
    [
        *("%2F", f"{UNKNOWN_ID}%2Fx", "%00", "%ff", "%0a", SCRIPT.replace("/", ""), SQL, "é"),
        *(
            "x" * 10_000,
            "{" + UNKNOWN_ID[1:-1] + "}",
            "urn:uuid:" + UNKNOWN_ID[9:],
            "-" * 36,
            "_" * 36,
        ),
    ],
    ids=lambda vm_id: vm_id[:20],
)
def test_malformed_vm_id_is_404(harness: ApiHarness, vm_id: str) -> None:
    code = "not_found" if "%2F" in vm_id else "vm_not_found"
    check_problem(harness.call("GET", f"/vms/{vm_id}"), 404, code)


@pytest.mark.parametrize("path", ["/vms", "/operations", "/flavors", "/images", "/networks"])
def test_trailing_slash_is_accepted(harness: ApiHarness, path: str) -> None:
    assert harness.get_json(path + "/") == harness.get_json(path)


def test_percent_encoded_path_is_decoded(harness: ApiHarness) -> None:
    assert harness.get_json("/%76ms") == harness.get_json("/vms")


@pytest.mark.parametrize("method", ["PUT", "TRACE", "CONNECT", "PROPFIND", "X" * 1000])
@pytest.mark.parametrize(
    "path", ["/vms", f"/vms/{UNKNOWN_ID}", f"/vms/{UNKNOWN_ID}/start", "/health"]
)
def test_unsupported_method_is_405(harness: ApiHarness, method: str, path: str) -> None:
    response = harness.client.open(environ_overrides={"REQUEST_METHOD": method}, path=BASE + path)
    check_problem(response, 405, "method_not_allowed")
    assert method not in response.headers["Allow"].split(", ")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/vms"),
        ("PATCH", "/vms"),
        ("POST", f"/vms/{UNKNOWN_ID}"),
        ("GET", f"/vms/{UNKNOWN_ID}/start"),
        ("POST", "/flavors"),
        ("POST", f"/vms/{UNKNOWN_ID}/status"),
    ],
)
def test_method_of_another_url_is_405(harness: ApiHarness, method: str, path: str) -> None:
    check_problem(harness.call(method, path), 405, "method_not_allowed")


def test_405_lists_allowed_methods(harness: ApiHarness) -> None:
    response = harness.call("DELETE", "/flavors")
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
