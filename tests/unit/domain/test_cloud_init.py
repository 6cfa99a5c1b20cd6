"""User data for cloud-init, and how cloud-init merges it.

A later cloud-config names the rules of its merge into an earlier one: with `dict(no_replace,
recurse_list)+list(append)` the values of the client stay unchanged, and the keys are appended.
https://docs.cloud-init.io/en/latest/reference/merging.html
"""

from email import message_from_bytes
from email.message import Message

import pytest
import yaml

from vmapi import errors
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


@pytest.mark.parametrize("keys", [(KEY,), (KEY, AWKWARD), ("ssh-rsa é \U0001f511 \u00a0\ufeff",)])
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


@pytest.mark.parametrize("key", [KEY, "ssh-rsa é \U0001f511"])
@pytest.mark.parametrize("user_data", ["#!/bin/sh\n", ARCHIVE])
def test_keys_in_an_archive_keep_their_comments(user_data: str, key: str) -> None:
    keys = parts(build_user_data(user_data, [key]))[-1]
    assert config(text(keys)) == {"ssh_authorized_keys": [key], "merge_how": MERGE}


def test_archive_of_the_client_is_not_changed() -> None:
    archive = ARCHIVE.replace("MIME-Version", "X-Long: " + "é" * 300 + "\nMIME-Version")
    composed = build_user_data(archive, [KEY])
    assert composed is not None
    assert archive.encode() in composed


@pytest.mark.parametrize(
    "user_data",
    [
        "#!/bin/sh\ncat <<E\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\nE\n",
        "#cloud-config\n# MIME-Version: 1.0\n",
        "\nMIME-Version: 1.0\n\nx",
    ],
)
def test_text_that_mentions_mime_is_no_archive(user_data: str) -> None:
    first, _ = parts(build_user_data(user_data, [KEY]))
    assert text(first) == user_data


def nested_archive(depth: int, end: str = "\n") -> str:
    """Return an archive of archives, `depth` deep."""
    return (
        "MIME-Version: 1.0\n"
        + "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(depth))
        + end
        + "".join(f"--b{n}--\n" for n in reversed(range(depth)))
    )


MALFORMED_ARCHIVES = {
    "nested": nested_archive(400),
    "nested-over-the-limit": nested_archive(17),
    "unterminated": ARCHIVE.replace("--==inner==--", ""),
    "unterminated-accent": "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\né",
    "no-boundary": "MIME-Version: 1.0\nContent-Type: multipart/mixed\n\né\n",
    "empty-boundary": 'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=""\n\né\n',
    "other-boundary": ARCHIVE.replace('"==inner=="', '"another"'),
    "bad-charset": "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary*=x'y'%ff\n\né",
    "bad-encoding": ARCHIVE.replace("MIME-", "Content-Transfer-Encoding: base64\nMIME-"),
    "no-separator": "MIME-Version: 1.0\n#!/bin/sh\necho é\n",
    "digest-without-end": "MIME-Version: 1.0\nContent-Type: multipart/digest; boundary=b\n\n--b\n",
}


@pytest.mark.parametrize("name", MALFORMED_ARCHIVES)
def test_malformed_archive_cannot_be_combined_with_keys(name: str) -> None:
    user_data = MALFORMED_ARCHIVES[name]
    assert build_user_data(user_data, ()) == user_data.encode()
    with pytest.raises(errors.ValidationFailed) as caught:
        build_user_data(user_data, [KEY])
    (error,) = caught.value.extra["errors"]
    assert error["pointer"] == "/user_data"
    assert "malformed MIME archive, which cannot be combined with SSH keys" in error["message"]


@pytest.mark.parametrize("depth", [1, 16])
def test_nested_archive_is_combined_with_keys(depth: int) -> None:
    keys = parts(build_user_data(nested_archive(depth), [KEY]))[-1]
    assert config(text(keys)) == {"ssh_authorized_keys": [KEY], "merge_how": MERGE}


@pytest.mark.parametrize("user_data", ["#!/bin/sh\n", "--vmapi-0", ARCHIVE])
def test_user_data_is_deterministic(user_data: str) -> None:
    assert build_user_data(user_data, [KEY]) == build_user_data(user_data, [KEY])


def test_multipart_boundary_occurs_in_no_part() -> None:
    composed = build_user_data("--vmapi-0\n--vmapi-1\n", [KEY])
    assert composed is not None
    assert message_from_bytes(composed).get_boundary() == "vmapi-2"
