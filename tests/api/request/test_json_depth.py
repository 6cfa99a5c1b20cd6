"""JSON that is nested deeply: refused as such, at every depth and by whoever reads a body."""

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
    world: ApiHarness, path: str, depth: int, brackets: str
) -> None:
    method, frame = BODIES[path]
    opening, closing = ("[", "]") if brackets == "[]" else ('{"a":', "}")
    body = frame.format(opening * depth + "1" + closing * depth)
    answer = world.call(method, path, data=body, content_type="application/json")
    told = (answer.status_code, answer.json["code"])
    if depth > 32:
        assert (told, answer.json["detail"]) == ((400, "malformed_request"), TOO_DEEP)
    else:
        assert told == (422, "validation_error")


@pytest.mark.parametrize("inner", ["[]", "{}", '"' + "[" * 100 + '"', "[1, [2], {}]"])
def test_depth_limit_is_exact(world: ApiHarness, inner: str) -> None:
    levels = 1 if inner in ("[]", "{}") else 2 if inner[0] == "[" else 0
    for depth, code in ((32, "validation_error"), (33, "malformed_request")):
        around = depth - levels
        body = "[" * around + inner + "]" * around
        answer = world.call("POST", "/vms", data=body, content_type="application/json")
        assert (depth, answer.json["code"]) == (depth, code)


@pytest.mark.parametrize("body", ["[" * 10_000, '{"a":' * 10_000, "[" * 10_000 + "]" * 10_000])
def test_ten_thousand_brackets_are_refused(world: ApiHarness, body: str) -> None:
    answer = world.call("POST", "/vms", data=body, content_type="application/json")
    assert (answer.status_code, answer.json["detail"]) == (400, TOO_DEEP)
