"""Describe a URL without a resource, and suggest the one that the client may have meant."""

import re
from collections.abc import Iterator

from flask import current_app, request

from vmapi.api.request.context import current_services

OTHER_BASE_PATH = re.compile(r"^(/api)?(/v[0-9.]+)?(?=/)")
"""The start of a path below the base path of another version, or below a part of it."""


def describe_unknown_url() -> str:
    """Return the detail of the 404 problem for the current request."""
    suggestion = next((path for path in _similar_paths() if _is_served(path)), None)
    hint = f"Did you mean {suggestion}? " if suggestion else ""
    return f"No resource has the URL {request.path}. {hint}The page /docs lists all URLs."


def _similar_paths() -> Iterator[str]:
    """Yield the path in lower case, below the base path, and below the root."""
    base_path = current_services().base_path
    path = "/" + "/".join(filter(None, request.path.lower().split("/")))
    yield path
    path_below = OTHER_BASE_PATH.sub("", path.removeprefix(base_path))
    yield f"{base_path}{path_below}"
    yield path_below


def _is_served(path: str) -> bool:
    return current_app.url_map.bind("").test(path, request.method)
