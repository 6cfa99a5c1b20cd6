"""The password of new connections, read again from its file."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import make_url

UrlReader = Callable[[], str | None]
"""Returns the present URL of the database."""


class RotatedPassword:
    """Connects with the password of the present URL, else with the last one that was accepted.

    The file may so have the new password before the server does. Thread-safe.
    """

    def __init__(self, read_url: UrlReader | None, hide: Callable[[str], None]) -> None:
        """Make it without a read; `hide` is called with each password before its use."""
        self._read_url, self._hide = read_url, hide
        self._accepted: str | None = None

    def connect(
        self, connect: Callable[..., Any], error: type[Exception], options: dict[str, Any]
    ) -> Any:
        """Open a connection. Raises `error` if the server accepts no password."""
        present = self._read()
        if present is None:
            return connect(**options)
        try:
            connection = connect(**options | {"password": present})
        except error:
            if self._accepted in (None, present):
                raise
            return connect(**options | {"password": self._accepted})
        self._accepted = present
        return connection

    def _read(self) -> str | None:
        url = self._read_url() if self._read_url else None
        password = make_url(url).password if url else None
        if password is None:
            return None
        self._hide(password)
        return password
