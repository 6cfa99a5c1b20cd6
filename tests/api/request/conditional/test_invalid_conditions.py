"""Conditions that are malformed, apply to no VM, or suit no method."""

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.api_harness import CREATE_BODY, UNKNOWN_ID, ApiHarness
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


def check_condition_is_refused(
    harness: ApiHarness, request: tuple[str, str, Any], condition: dict[str, str], detail: str
) -> None:
    """Check that a change with this condition gets 400, and that no operation is stored."""
    method, path, body = request
    total = harness.get_json("/operations")["total"]
    response = harness.call(method, path, headers=condition, json=body)
    assert (response.status_code, response.json["code"]) == (400, "malformed_request")
    assert response.json["detail"] == detail
    assert harness.get_json("/operations")["total"] == total


@pytest.mark.parametrize("sent", ["*", '"1-a"', "nonsense"])
def test_if_none_match_of_a_change_is_400(
    harness: ApiHarness, running_vm_id: str, sent: str
) -> None:
    etag = get_etag(harness, running_vm_id)
    requests: list[tuple[str, str, Any]] = [
        ("POST", "/vms/actions", {"action": "stop", "ids": [running_vm_id]}),
        ("POST", "/vms", {**CREATE_BODY, "name": "web-2"}),
        ("PATCH", f"/vms/{running_vm_id}", {"metadata": {"key": "x"}}),
        ("DELETE", f"/vms/{running_vm_id}", None),
        ("POST", f"/vms/{running_vm_id}/stop", None),
        ("POST", f"/vms/{running_vm_id}/restart", None),
    ]
    detail = (
        "If-None-Match applies to reads. To change a VM only if it is unchanged, send its ETag "
        "in If-Match."
    )
    for request in requests:
        check_condition_is_refused(harness, request, {"If-None-Match": sent}, detail)
    assert get_etag(harness, running_vm_id) == etag


@pytest.mark.parametrize("sent", ["*", '"1-a"', "nonsense"])
def test_if_match_of_a_create_or_a_bulk_action_is_400(
    harness: ApiHarness, running_vm_id: str, sent: str
) -> None:
    etag = get_etag(harness, running_vm_id)
    create = ("POST", "/vms", {**CREATE_BODY, "name": "web-2"})
    detail = "A create has no VM to compare: omit If-Match."
    check_condition_is_refused(harness, create, {"If-Match": sent}, detail)
    bulk = ("POST", "/vms/actions", {"action": "stop", "ids": [running_vm_id]})
    detail = (
        "If-Match applies to the change of one VM. Change the VMs one by one, each with its own "
        "ETag, or omit If-Match."
    )
    check_condition_is_refused(harness, bulk, {"If-Match": sent}, detail)
    assert get_etag(harness, running_vm_id) == etag


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
