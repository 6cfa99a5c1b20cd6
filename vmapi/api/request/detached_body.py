"""A response body that occupies no request thread: the server writes it when there are bytes.

As with `wsgi.file_wrapper` (PEP 3333), the server takes over the body. vmapi's own worker does so.
The iterator of the body yields its first bytes, then raises `BodyDetached`. Elsewhere the same
object is an ordinary iterable.
"""

from collections.abc import Callable, Hashable
from typing import Any, Protocol


class DetachedBody(Protocol):
    """The rest of a response body. All methods but `load` and `is_permitted` return at once.

    `due_at` is the monotonic time, in seconds, at which to read again without a notification.
    Bodies with equal `credentials` share one check of `is_permitted`.
    """

    credentials: Hashable

    @property
    def due_at(self) -> float:
        """The time of the next read."""
        ...

    def notify(self, on_ready: Callable[[], None]) -> None:
        """Call a function, in any thread, when there may be new bytes."""
        ...

    def read(self) -> bytes | None:
        """Return the next bytes, b"" if there are none at present, None at the end.

        Raises WouldBlock if they have to be loaded.
        """
        ...

    def load(self) -> None:
        """Load the next bytes."""
        ...

    def is_permitted(self) -> bool:
        """Return whether the credentials of the request are still valid."""
        ...

    def end(self) -> None:
        """End the body at the next read."""
        ...

    def release(self) -> None:
        """Release the resources of the body."""
        ...


class BodyDetached(BaseException):
    """The request thread has written the first bytes of a body, and leaves it to the server.

    Like WouldBlock, it is no Exception: it is no error.
    """

    def __init__(self, body: DetachedBody) -> None:
        super().__init__()
        self.body = body


def accepts_detached_body(environ: dict[str, Any]) -> bool:
    """Return whether the server of a request (PEP 3333) takes over response bodies."""
    return getattr(environ.get("gunicorn.socket"), "accepts_detached_body", False)
