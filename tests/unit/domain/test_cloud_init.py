"""User data for cloud-init, and how cloud-init merges it.

A later cloud-config names the rules of its merge into an earlier one: with `dict(no_replace,
recurse_list)+list(append)` the values of the client stay unchanged, and the keys are appended.
https://docs.cloud-init.io/en/latest/reference/merging.html
"""

from email import message_from_bytes
from email.message import Message

import pytest
import yaml

from vmapi.domain.cloud_init import build_user_data

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE me@host"
AWKWARD = 'ssh-rsa AAAAB3 "quoted": {a: b} # \\ \' | > % @'
MERGE = [
    {"name": "list", "settings": ["append"]},
    {"name": "dict", "settings": ["no_replace", "recurse_list"]},
]
ARCHIVE = """Content-Type: multipart/mixed; boundary="==inner=="
MIME-Version: 1.0

--==inner==
Content-Type: text/x-shellscript

#!/bin/sh
From here on é
--==inner==
Content-Type: text/cloud-config

packages: [nginx]
--==inner==--
"""


def parts(composed: bytes | None) -> list[Message]:
    """Return the leaves of an archive, as cloud-init walks them."""
    assert composed is not None
    message = message_from_bytes(composed)
    assert message.get_content_type() == "multipart/mixed"
    assert message["MIME-Version"] == "1.0"
    return [part for part in message.walk() if not part.is_multipart()]


def text(part: Message) -> str:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode()


def config(content: str) -> object:
    assert content.startswith("#cloud-config\n")
    return yaml.safe_load(content)


@pytest.mark.parametrize("user_data", [None, ""])
def test_without_input_there_is_no_user_data(user_data: str | None) -> None:
    assert build_user_data(user_data, ()) is None


@pytest.mark.parametrize("user_data", ["#!/bin/sh\necho é\n", "\r\n #x", ARCHIVE, "no newline"])
def test_user_data_without_keys_is_unchanged(user_data: str) -> None:
    assert build_user_data(user_data, ()) == user_data.encode()


@pytest.mark.parametrize("keys", [(KEY,), (KEY, AWKWARD), ("ssh-rsa é",)])
@pytest.mark.parametrize("user_data", [None, ""])
def test_keys_without_user_data_are_a_cloud_config(
    user_data: str | None, keys: tuple[str, ...]
) -> None:
    composed = build_user_data(user_data, keys)
    assert composed is not None
    assert config(composed.decode()) == {"ssh_authorized_keys": list(keys), "merge_how": MERGE}


@pytest.mark.parametrize(
    ("user_data", "kind"),
    [
        ("#!/bin/sh\necho hi\n", "text/x-shellscript"),
        ("#cloud-config\npackages: [nginx]\n", "text/cloud-config"),
        ("#cloud-config-archive\n- type: text/plain\n", "text/cloud-config-archive"),
        ("#cloud-boothook\n#!/bin/sh\n", "text/cloud-boothook"),
        ("#include\nhttps://example.org/a\n", "text/x-include-url"),
        ("#include-once\nhttps://example.org/a\n", "text/x-include-once-url"),
        ("#part-handler\nimport os\n", "text/part-handler"),
        ("## template: jinja\n#cloud-config\n", "text/jinja2"),
        ("just words, é and \u2028\r\n", "text/plain"),
        ("--vmapi-0\n--vmapi-1--\n", "text/plain"),
    ],
)
def test_user_data_of_every_kind_is_combined_with_keys(user_data: str, kind: str) -> None:
    first, keys = parts(build_user_data(user_data, [KEY, AWKWARD]))
    assert first.get_content_type() == kind
    assert first.get_content_charset() == "utf-8"
    assert text(first) == user_data
    assert keys.get_content_type() == "text/cloud-config"
    assert config(text(keys)) == {"ssh_authorized_keys": [KEY, AWKWARD], "merge_how": MERGE}


def test_mime_archive_of_the_client_becomes_one_part() -> None:
    script, packages, keys = parts(build_user_data(ARCHIVE, [KEY]))
    assert script.get_content_type() == "text/x-shellscript"
    assert text(script) == "#!/bin/sh\nFrom here on é"
    assert packages.get_content_type() == "text/cloud-config"
    assert text(packages) == "packages: [nginx]"
    assert config(text(keys)) == {"ssh_authorized_keys": [KEY], "merge_how": MERGE}


@pytest.mark.parametrize("user_data", ["#!/bin/sh\n", "--vmapi-0", ARCHIVE])
def test_user_data_is_deterministic(user_data: str) -> None:
    assert build_user_data(user_data, [KEY]) == build_user_data(user_data, [KEY])


def test_multipart_boundary_occurs_in_no_part() -> None:
    composed = build_user_data("--vmapi-0\n--vmapi-1\n", [KEY])
    assert composed is not None
    assert message_from_bytes(composed).get_boundary() == "vmapi-2"
