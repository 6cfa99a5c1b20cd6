"""JSON that is nested deeply: refused as such, at every depth and by whoever reads a body."""

import pytest

from tests.world import NOBODY, World

DEPTHS = (10, 100, 400, *range(800, 1001, 25), 2_000, 10_000, 100_000)
BODIES = {
    "/vms": ("POST", '{{"metadata": {}}}'),
    f"/vms/{NOBODY}": ("PATCH", '{{"metadata": {{"a": {}}}}}'),
    f"/vms/{NOBODY}/restart": ("POST", '{{"type": {}}}'),
    f"/vms/{NOBODY}/start": ("POST", "{}"),
    "/vms/actions": ("POST", '{{"ids": {}}}'),
}


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_a_nested_body_is_refused(world: World, path: str, depth: int, brackets: str) -> None:
    method, frame = BODIES[path]
    opening, closing = ("[", "]") if brackets == "[]" else ('{"a":', "}")
    body = frame.format(opening * depth + "1" + closing * depth)
    answer = world.call(method, path, data=body, content_type="application/json")
    assert (answer.status_code, answer.json["code"]) in (
        (400, "malformed_request"),
        (422, "validation_error"),
    )
    if depth >= 2_000:
        assert answer.json["detail"] == "The body is nested too deeply."


@pytest.mark.parametrize("body", ["[" * 10_000, '{"a":' * 10_000, "[" * 10_000 + "]" * 10_000])
def test_ten_thousand_brackets(world: World, body: str) -> None:
    answer = world.call("POST", "/vms", data=body, content_type="application/json")
    assert (answer.status_code, answer.json["detail"]) == (400, "The body is nested too deeply.")
