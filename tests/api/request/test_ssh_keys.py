"""User data and SSH keys of a create: what cannot be combined is refused with a pointer."""

import pytest

from tests.support.api_harness import CREATE_BODY, ApiHarness

KEY = "ssh-ed25519 " + "A" * 68
UNTERMINATED = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\né"
NESTED = "MIME-Version: 1.0\n" + "".join(
    f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(400)
)


@pytest.mark.parametrize("user_data", [UNTERMINATED, NESTED])
def test_malformed_archive_with_ssh_keys_is_refused(harness: ApiHarness, user_data: str) -> None:
    body = {**CREATE_BODY, "user_data": user_data}
    response = harness.call("POST", "/vms", json={**body, "ssh_keys": [KEY]})
    assert (response.status_code, response.json["code"]) == (422, "validation_error")
    assert [error["pointer"] for error in response.json["errors"]] == ["/user_data"]
    assert harness.call("POST", "/vms", json=body).status_code == 201


@pytest.mark.parametrize("key", [f"{KEY}\n", f"  {KEY} jürgen@büro 🔑\r\n"])
def test_ssh_key_of_a_file_is_accepted(harness: ApiHarness, key: str) -> None:
    response = harness.call("POST", "/vms", json={**CREATE_BODY, "ssh_keys": [key]})
    assert response.status_code == 201
