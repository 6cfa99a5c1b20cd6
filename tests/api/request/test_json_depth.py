"""Deeply nested JSON: refused at every depth by every endpoint with a body."""

import pytest

from tests.support.api_harness import UNKNOWN_ID, ApiHarness

TOO_DEEP = "The body is nested too deeply: the limit is 32 levels."
DEPTHS = (30, 33, 400, *range(900, 1001, 50), 10_000, 100_000)
BODIES = {
    "/vms": ("POST", '{{"metadata": {}}}'),
    f"/vms/{UNKNOWN_ID}": ("PATCH", '{{"metadata": {{"a": {}}}}}'),
    f"/vms/{UNKNOWN_ID}/restart": ("POST", '{{"type": {}}}'),
    "/vms/actions": ("POST", '{{"ids": {}}}'),
}


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_deeply_nested_body_is_refused(
    harness: ApiHarness, path: str, depth: int, brackets: str
) -> None:
    method, frame = BODIES[path]
    opening, closing = ("[", "]") if brackets == "[]" else ('{"a":', "}")
    body = frame.format(opening * depth + "1" + closing * depth)
    response = harness.call(method, path, data=body, content_type="application/json")
    status_and_code = (response.status_code, response.json["code"])
    if depth > 32:
        assert (status_and_code, response.json["detail"]) == ((400, "malformed_request"), TOO_DEEP)
    else:
        assert status_and_code == (422, "validation_error")


@pytest.mark.parametrize("inner", ["[]", "{}", '"' + "[" * 100 + '"', "[1, [2], {}]"])
def test_depth_limit_is_exact(harness: ApiHarness, inner: str) -> None:
    levels = 1 if inner in ("[]", "{}") else 2 if inner[0] == "[" else 0
    for depth, code in ((32, "validation_error"), (33, "malformed_request")):
        around = depth - levels
        body = "[" * around + inner + "]" * around
        response = harness.call("POST", "/vms", data=body, content_type="application/json")
        assert (depth, response.json["code"]) == (depth, code)


@pytest.mark.parametrize("body", ["[" * 10_000, '{"a":' * 10_000, "[" * 10_000 + "]" * 10_000])
def test_ten_thousand_brackets_are_refused(harness: ApiHarness, body: str) -> None:
    response = harness.call("POST", "/vms", data=body, content_type="application/json")
    assert (response.status_code, response.json["detail"]) == (400, TOO_DEEP)
