"""One setting: its environment variable, its default, and what is allowed."""

from collections.abc import Callable
from dataclasses import field
from typing import Any


def setting(
    name: str,
    default: object,
    allowed: str,
    parse: str = "str",
    check: Callable[[Any], Any] | None = None,
    *,
    secret: bool = False,
) -> Any:
    """Declare a setting: its environment variable, default, and what is allowed, in words."""
    about = {"name": name, "allowed": allowed, "parse": parse, "check": check, "secret": secret}
    return field(default=default, repr=not secret, metadata=about)
