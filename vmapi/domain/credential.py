"""A caller's own way into the cloud, lent to vmapi for one request."""

from typing import NoReturn


class CallerToken:
    """A token of the cloud's own Keystone, and the id of the project that it is for.

    It lives as long as a first call is to be made with it: nothing shows, compares or keeps it.
    """

    __slots__ = ("project", "value")

    def __init__(self, token: str, project: str) -> None:
        self.value = token
        self.project = project

    def __repr__(self) -> str:
        """Show nothing of it."""
        return "CallerToken(hidden)"

    def __reduce__(self) -> NoReturn:
        """Let it not be pickled, nor copied that way."""
        raise TypeError("a credential is not to be kept")
