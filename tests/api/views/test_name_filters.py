"""Filters by name: a `*` that can match nothing is refused, not answered with an empty list."""

import pytest

from tests.support.api_harness import ApiHarness

PREFIX_ERROR = "Must have * as its last character only."
NAME_ERROR = "Must not contain a *."
NUL_ERROR = "Must not contain the NUL character."


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        *(("name", value, PREFIX_ERROR) for value in ("*web*", "w*b", "*web", "**", "a**", "*a")),
        *(("flavor", value, NAME_ERROR) for value in ("m1.*", "*", "*tiny")),
        *(("image", value, NAME_ERROR) for value in ("cirr*", "*", "c*s")),
        *((name, "a\0*b", NUL_ERROR) for name in ("name", "flavor", "image")),
    ],
)
def test_misplaced_wildcard_is_refused(
    harness: ApiHarness, name: str, value: str, message: str
) -> None:
    harness.create_running()
    response = harness.call("GET", "/vms", query_string={name: value})
    assert (response.status_code, response.json["code"]) == (422, "validation_error")
    assert response.json["errors"] == [{"pointer": f"/{name}", "message": message}]
    body = {"action": "delete", "filter": {name: value}}
    response = harness.post("/vms/actions", body)
    assert (response.status_code, response.json["code"]) == (422, "validation_error")
    assert response.json["errors"] == [{"pointer": f"/filter/{name}", "message": message}]
    assert harness.get_json("/vms")["total"] == 1


@pytest.mark.parametrize(("value", "total"), [("web*", 1), ("*", 1), ("web-1*", 1), ("web", 0)])
def test_trailing_wildcard_is_a_prefix(harness: ApiHarness, value: str, total: int) -> None:
    harness.create_running()
    assert harness.get_json("/vms", query_string={"name": value})["total"] == total
