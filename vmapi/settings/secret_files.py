"""Secrets from files: NAME_FILE in the place of NAME (Docker, Kubernetes, systemd credentials)."""

import os
from pathlib import Path

from vmapi.errors import SettingsError

MAX_SECRET_BYTES = 64 * 1024
"""Bytes of a file that holds one secret: what is longer is another file."""


def read_secret(name: str) -> tuple[str, str]:
    """Return a secret, "" where it is not set, and which variable to name should it be bad.

    Line ends at the end of a file do not count. Raises SettingsError, which never shows what
    is in the file.
    """
    value, path = os.environ.get(name, ""), os.environ.get(f"{name}_FILE", "")
    if not path:
        return value, name
    if value:
        raise SettingsError(f"{name} and {name}_FILE are both set: keep one of them")
    if not path.startswith("/"):
        # it may be the secret itself, in the wrong variable
        raise SettingsError(f"{name}_FILE: allowed is the absolute path of a file")
    where = f"{name}_FILE {path!r}"
    text = _read_text(where, Path(path)).rstrip("\r\n")
    if not text:
        raise SettingsError(f"{where}: the file is empty; write the value into it")
    return text, where


def _read_text(source: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no path of a file"
        raise SettingsError(
            f"{source}: cannot be read ({reason}); name a file that vmapi's user may read"
        ) from None
    if len(content) > MAX_SECRET_BYTES:
        raise SettingsError(
            f"{source}: is longer than {MAX_SECRET_BYTES} bytes; name the file of the secret"
        )
    try:
        text = content.decode()
    except UnicodeError:
        text = "\0"
    if "\0" in text:
        raise SettingsError(f"{source}: is no text in UTF-8; write the value into it as text")
    return text
