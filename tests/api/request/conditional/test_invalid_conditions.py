"""Conditions that are malformed, apply to no VM, or suit no method."""

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.api_harness import UNKNOWN_ID, ApiHarness
from tests.support.conditional_requests import get_etag, get_if_none_match, patch_if_match

MALFORMED = [
    *("", " ", "1-a", '"1-a', '1-a"', "''", 'w/"1-a"', "W/1-a", '"a" "b"', '"a";"b"', '*, "a"'),
    *("**", '"a b"', '"a"x', 'W/ "a"', '"\x7f"', '"a",*', ",", '"'),
]


@pytest.mark.parametrize("sent", ["*", '"1-a"'])
def test_conditional_request_for_missing_vm_is_404(harness: ApiHarness, sent: str) -> None:
    for response in (
        patch_if_match(harness, UNKNOWN_ID, sent),
        get_if_none_match(harness, UNKNOWN_ID, sent),
    ):
        assert (response.status_code, response.json["code"]) == (404, "vm_not_found")


@pytest.mark.parametrize("sent", MALFORMED)
def test_malformed_condition_is_400(harness: ApiHarness, running_vm_id: str, sent: str) -> None:
    for response, header in [
        (patch_if_match(harness, running_vm_id, sent), "If-Match"),
        (get_if_none_match(harness, running_vm_id, sent), "If-None-Match"),
        (get_if_none_match(harness, running_vm_id, sent, "/status"), "If-None-Match"),
    ]:
        assert (response.status_code, response.json["code"]) == (400, "malformed_request")
        assert response.json["detail"] == (
            f'{header} must be * or a list of entity tags in double quotes, as in ETag: "1-a".'
        )


@pytest.mark.parametrize("sent", ["*", '"1-a"', "nonsense"])
def test_unsupported_condition_is_400(harness: ApiHarness, running_vm_id: str, sent: str) -> None:
    bulk = {"action": "stop", "ids": [running_vm_id]}
    changes: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/vms/actions", {"json": bulk}),
        ("POST", "/vms", {"json": {"name": "web-2", "flavor": "m1.tiny", "image": "cirros"}}),
        ("PATCH", f"/vms/{running_vm_id}", {"json": {"metadata": {"key": "x"}}}),
        ("DELETE", f"/vms/{running_vm_id}", {}),
        ("POST", f"/vms/{running_vm_id}/stop", {}),
        ("POST", f"/vms/{running_vm_id}/restart", {}),
    ]
    old, count = get_etag(harness, running_vm_id), harness.get_json("/operations")["total"]
    for method, path, sends in changes:
        response = harness.call(method, path, headers={"If-None-Match": sent}, **sends)
        assert (response.status_code, response.json["code"]) == (400, "malformed_request")
        assert response.json["detail"] == (
            "If-None-Match applies to reads. To change a VM only if it is unchanged, send its ETag "
            "in If-Match."
        )
    for method, path, sends in changes[:2]:
        response = harness.call(method, path, headers={"If-Match": sent}, **sends)
        assert (response.status_code, response.json["code"]) == (400, "malformed_request")
        assert response.json["detail"] == (
            "A create has no VM to compare: omit If-Match."
            if path == "/vms"
            else "If-Match applies to the change of one VM. Change the VMs one by one, each with "
            "its own ETag, or omit If-Match."
        )
    assert (get_etag(harness, running_vm_id), harness.get_json("/operations")["total"]) == (
        old,
        count,
    )


header = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=40)
tags = st.lists(header.map(lambda text: f'"{text}"'), max_size=4).map(", ".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(sent='"' * 8000)
@example(sent="," * 8000)
@example(sent='"",' * 2600 + "x")
@given(sent=header | tags)
def test_arbitrary_condition_never_crashes(harness: ApiHarness, sent: str) -> None:
    vms = harness.get_json("/vms")["items"]
    vm_id = str(vms[0]["id"]) if vms else harness.create_running()
    any_one = sent.strip(" \t") == "*"
    assert get_if_none_match(harness, vm_id, sent).status_code in (
        (304,) if any_one else (200, 400)
    )
    assert patch_if_match(harness, vm_id, sent).status_code in ((200,) if any_one else (400, 412))
