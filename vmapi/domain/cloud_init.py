"""What cloud-init in the VM is given: https://docs.cloud-init.io/en/latest/explanation/format.html"""

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
    """Return the user data that gives a VM both the client's own and the keys; None for neither.

    The client's text is handed over untouched when no keys go with it; else both are parts of one
    MIME archive, and keys that a cloud-config of the client's lists are kept.
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
    # JSON is YAML, so quoting is json's business
    config = {"ssh_authorized_keys": list(ssh_keys), "merge_how": _MERGE_RULES}
    return "#cloud-config\n" + json.dumps(config, indent=1) + "\n"


def _part(user_data: str) -> Message:
    # cloud-init's own test for what is an archive already; it goes into ours as a whole
    if "mime-version:" in user_data[:4096].lower():
        return message_from_bytes(user_data.encode())
    return MIMEText(user_data, _subtype(user_data), "utf-8")


def _subtype(user_data: str) -> str:
    return next(
        (kind for start, kind in _SUBTYPE_BY_PREFIX if user_data.startswith(start)), "plain"
    )


def _boundary(*parts: str) -> str:
    # derived, so that the same request gives the same bytes
    n = 0
    while any(f"--vmapi-{n}" in part for part in parts):
        n += 1
    return f"vmapi-{n}"
