"""Requests with If-None-Match and If-Match, and the clouds that they run on."""

import pytest
from werkzeug.test import TestResponse

from tests.support.api_harness import ApiHarness

on_remote_cloud = pytest.mark.parametrize("backend", ["far"], indirect=True)
on_both_clouds = pytest.mark.parametrize("backend", ["near", "far"], indirect=True)


def get_etag(harness: ApiHarness, vm_id: str) -> str:
    return harness.call("GET", f"/vms/{vm_id}").headers["ETag"]


def get_if_none_match(harness: ApiHarness, vm_id: str, sent: str, path: str = "") -> TestResponse:
    return harness.call("GET", f"/vms/{vm_id}{path}", headers={"If-None-Match": sent})


def patch_if_match(
    harness: ApiHarness, vm_id: str, sent: str, value: str = "x", **headers: str
) -> TestResponse:
    body = {"metadata": {"key": value}}
    headers |= {"If-Match": sent}
    return harness.call("PATCH", f"/vms/{vm_id}", json=body, headers=headers)


def check_precondition_failed(response: TestResponse) -> str:
    """Check a 412 response and return its entity tag."""
    assert (response.status_code, response.json["code"]) == (412, "precondition_failed")
    assert response.json["etag"] == response.headers["ETag"]
    assert response.json["detail"].endswith(f"send If-Match: {response.json['etag']}.")
    return str(response.json["etag"])
