"""Secrets from files: NAME_FILE instead of NAME (Docker, Kubernetes, systemd credentials)."""

from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path
from threading import Lock

import structlog

from vmapi.errors import SettingsError

log = structlog.get_logger("vmapi.settings")

UNUSABLE_SECRET_LOG_INTERVAL = 60.0
"""Seconds between two log lines about one secret: it may be read many times a second."""

#: A longer file is not a secret but some other file, named by mistake.
MAX_SECRET_BYTES = 64 * 1024


class UnusableSecretLog:
    """Logs replaced files that are not usable. Thread-safe; `monotonic` returns seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = Lock()
        self._next_line_at: dict[str, float] = {}

    def record(self, name: str, reason: str) -> None:
        """Log why the file of a secret is not usable, unless it had a line in this minute."""
        with self._lock:
            now = self._monotonic()
            if now < self._next_line_at.get(name, -inf):
                return
            self._next_line_at[name] = now + UNUSABLE_SECRET_LOG_INTERVAL
        log.warning("secret file not usable", reason=reason)


def read_secret(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return a secret, and the variable or file that a message names as its source.

    The secret is empty where neither NAME nor NAME_FILE is set. Line ends at the end of a file
    are removed. Raises SettingsError; its text never contains the content of the file.
    """
    value, path = environ.get(name, ""), environ.get(f"{name}_FILE", "")
    if not path:
        return value, name
    if value:
        raise SettingsError(f"{name} and {name}_FILE are both set: keep one of them")
    if not path.startswith("/"):
        # the text may be the secret itself, in the wrong variable, so it is not shown
        raise SettingsError(f"{name}_FILE: allowed is the absolute path of a file")
    source = f"{name}_FILE {path!r}"
    text = _read_text(source, Path(path)).rstrip("\r\n")
    if not text:
        raise SettingsError(f"{source}: the file is empty; write the value into it")
    return text, source


def _read_text(source: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not the path of a file"
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
        raise SettingsError(f"{source}: is not text in UTF-8; write the value into it as text")
    return text
