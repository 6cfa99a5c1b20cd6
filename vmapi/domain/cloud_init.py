"""User data for cloud-init: combines the text of the client with SSH keys.

Formats: https://docs.cloud-init.io/en/latest/explanation/format.html
"""

import json
from collections.abc import Iterator, Sequence
from email import message_from_bytes
from email.message import Message
from email.parser import BytesHeaderParser

from vmapi.errors import ValidationFailed

MAX_BOUNDARIES = 16
"""Boundaries in the archive of a client: the cost of a parser grows with the depth."""

_SUBTYPE_BY_PREFIX = (
    ("#!", "x-shellscript"),
    ("#cloud-config-archive", "cloud-config-archive"),
    ("#cloud-config", "cloud-config"),
    ("#cloud-boothook", "cloud-boothook"),
    ("#include-once", "x-include-once-url"),
    ("#include", "x-include-url"),
    ("#part-handler", "part-handler"),
    ("## template: jinja", "jinja2"),
)
_MERGE_RULES = [
    {"name": "list", "settings": ["append"]},
    {"name": "dict", "settings": ["no_replace", "recurse_list"]},
]


def build_user_data(user_data: str | None, ssh_keys: Sequence[str]) -> bytes | None:
    """Build user data from the text of the client and SSH keys; None without both.

    Without keys the text is unchanged. With keys, both are parts of a MIME archive, and cloud-init
    appends the keys to those that a cloud-config of the client lists. Raises ValidationFailed for a
    malformed MIME archive of the client, which cannot be a part.
    """
    if not ssh_keys:
        return user_data.encode() if user_data else None
    keys = _ssh_keys_config(ssh_keys)
    if not user_data:
        return keys.encode()
    is_archive = _is_mime_archive(user_data)
    part = user_data.encode() if is_archive else _encode_part(user_data, _subtype(user_data))
    archive = _join_parts(_boundary(user_data, keys), part, _encode_part(keys, "cloud-config"))
    if is_archive:
        _check_archive(user_data, archive, keys)
    return archive


def _ssh_keys_config(ssh_keys: Sequence[str]) -> str:
    # JSON is YAML, so json does the quoting; YAML has no escapes of surrogate pairs
    config = {"ssh_authorized_keys": list(ssh_keys), "merge_how": _MERGE_RULES}
    return "#cloud-config\n" + json.dumps(config, indent=1, ensure_ascii=False) + "\n"


def _is_mime_archive(user_data: str) -> bool:
    """Return whether cloud-init reads a text as a MIME archive, and finds headers in it."""
    content = user_data.encode()
    if b"mime-version:" not in content[:4096].lower():
        return False
    return bool(BytesHeaderParser().parsebytes(content).keys())


def _encode_part(text: str, subtype: str) -> bytes:
    # loads a megabyte of modules, and few creates have a part
    from email.mime.text import MIMEText

    return MIMEText(text, subtype, "utf-8").as_bytes()


def _join_parts(boundary: str, *parts: bytes) -> bytes:
    """Return a MIME archive. The parts stay as they are: a generator would change them."""
    headers = f'Content-Type: multipart/mixed; boundary="{boundary}"\nMIME-Version: 1.0\n\n'
    delimiter = f"--{boundary}".encode()
    body = b"".join(delimiter + b"\n" + part + b"\n" for part in parts)
    return headers.encode() + body + delimiter + b"--\n"


def _check_archive(user_data: str, archive: bytes, keys: str) -> None:
    """Check that a parser finds the client's archive and the keys in the new archive.

    Raises ValidationFailed.
    """
    if user_data.lower().count("boundary") > MAX_BOUNDARIES:
        raise _invalid_archive(f"It has more than {MAX_BOUNDARIES} boundaries.")
    try:
        message = message_from_bytes(archive)
        defect = next(_defects(message), None)
        *_, last = message.walk()
        has_keys = last.get_payload(decode=True) == keys.encode()
    except Exception as error:
        # the parser of the standard library fails in many ways
        raise _invalid_archive("Its structure cannot be read.") from error
    if defect is not None or not has_keys:
        raise _invalid_archive(defect or "It has no end.")


def _defects(message: Message) -> Iterator[str]:
    """Iterate over descriptions of the defects in all parts."""
    for part in message.walk():
        for defect in part.defects:
            yield next(iter((type(defect).__doc__ or "It is malformed.").splitlines()))


def _invalid_archive(reason: str) -> ValidationFailed:
    message = f"Is a malformed MIME archive, which cannot be combined with SSH keys. {reason}"
    return ValidationFailed(
        "The user data cannot be combined with the SSH keys.", ("/user_data", message)
    )


def _subtype(user_data: str) -> str:
    return next(
        (kind for prefix, kind in _SUBTYPE_BY_PREFIX if user_data.startswith(prefix)), "plain"
    )


def _boundary(*parts: str) -> str:
    # derived from the parts, so that the same request gives the same bytes
    number = 0
    while any(f"--vmapi-{number}" in part for part in parts):
        number += 1
    return f"vmapi-{number}"
