"""OpenSSH public keys in requests, in the format of a `.pub` file.

Source: sshd(8), "AUTHORIZED_KEYS FILE FORMAT". Options in front of a key are not allowed.
"""

import re
from typing import Any

from marshmallow import ValidationError, fields

SSH_KEY_PATTERN = (
    r"^[ \t\r\n]*(ssh-(rsa|ed25519)|ecdsa-sha2-nistp(256|384|521)"
    r"|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)"
    r"[ \t]+[A-Za-z0-9+/]{40}[A-Za-z0-9+/]*={0,3}"
    r"([ \t][^\x00-\x08\x0a-\x1f\x7f-\x9f]*)?[ \t\r\n]*$"
)
MAX_SSH_KEY_CHARS = 8000
"""The pattern sets no limit: RE2 allows no repetition of more than 1,000 times."""

WHITE_SPACE = " \t\r\n"

LINE_ENDS_AND_NONCHARACTERS = re.compile("[\u2028\u2029\ufdd0-\ufdef\ufffe\uffff\ud800-\udfff]")
"""Characters that end a line for cloud-init, and those that YAML does not allow."""

INVALID_SSH_KEY_DETAIL = "Must be an OpenSSH public key on one line."


class SSHKeyField(fields.String):
    """A public key; white space around it and between its parts does not count."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs).strip(WHITE_SPACE)
        if len(text) > MAX_SSH_KEY_CHARS:
            raise ValidationError(f"Longer than maximum length {MAX_SSH_KEY_CHARS}.")
        is_valid = re.fullmatch(SSH_KEY_PATTERN, text) is not None
        if not is_valid or LINE_ENDS_AND_NONCHARACTERS.search(text):
            raise ValidationError(INVALID_SSH_KEY_DETAIL)
        return " ".join(re.split("[ \t]+", text, maxsplit=2))
