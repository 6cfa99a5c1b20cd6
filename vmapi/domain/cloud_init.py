"""User data for cloud-init: combines the text of the client with SSH keys.

Formats: https://docs.cloud-init.io/en/latest/explanation/format.html
"""

import json
from collections.abc import Sequence
from email import message_from_bytes
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

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
    appends the keys to those that a cloud-config of the client lists.
    """
    if not ssh_keys:
        return user_data.encode() if user_data else None
    keys = _ssh_keys_config(ssh_keys)
    if not user_data:
        return keys.encode()
    archive = MIMEMultipart(boundary=_boundary(user_data, keys))
    archive.attach(_part(user_data))
    archive.attach(MIMEText(keys, "cloud-config", "utf-8"))
    return archive.as_bytes()


def _ssh_keys_config(ssh_keys: Sequence[str]) -> str:
    # JSON is YAML, so json takes care of the quoting
    config = {"ssh_authorized_keys": list(ssh_keys), "merge_how": _MERGE_RULES}
    return "#cloud-config\n" + json.dumps(config, indent=1) + "\n"


def _part(user_data: str) -> Message:
    # the test that cloud-init uses for an archive; it becomes a part of the new archive as a whole
    if "mime-version:" in user_data[:4096].lower():
        return message_from_bytes(user_data.encode())
    return MIMEText(user_data, _subtype(user_data), "utf-8")


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
