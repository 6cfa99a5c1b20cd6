"""Describe a URL without a resource, and suggest the one that the client may have meant."""

import re
from collections.abc import Iterator
from difflib import get_close_matches

from flask import current_app, request

from vmapi.api.request.versions import current_base_path

OTHER_BASE_PATH = re.compile(r"^(/api)?(/v[0-9.]+)?(?=/|\Z)", re.IGNORECASE)
"""The start of a path below the base path of another version, or below a part of it."""

SEGMENT_SYNONYMS = {
    **dict.fromkeys(("boot", "poweron", "power-on", "unshelve", "os-start"), "start"),
    **dict.fromkeys(("shutdown", "shutoff", "poweroff", "power-off", "halt", "os-stop"), "stop"),
    **dict.fromkeys(("reboot", "reset", "power-cycle"), "restart"),
    **dict.fromkeys(("suspend", "freeze"), "pause"),
    **dict.fromkeys(("unpause", "unsuspend", "unfreeze", "continue"), "resume"),
    **dict.fromkeys(("log", "logs", "output", "console-log", "console-output"), "console"),
    **dict.fromkeys(("state", "power-state"), "status"),
    **dict.fromkeys(("bulk", "batch"), "actions"),
    **dict.fromkeys(("server", "servers", "instance", "instances", "machines"), "vms"),
    **dict.fromkeys(("sizes", "types", "instance-types"), "flavors"),
    **dict.fromkeys(("task", "tasks", "jobs"), "operations"),
    **dict.fromkeys(("limits", "quotas", "quota-sets", "usage"), "quota"),
    **dict.fromkeys(("swagger", "swagger-ui", "redoc"), "docs"),
}
"""The segments of this API by the words of other ones for the same resource or action."""

MIN_SEGMENT_SIMILARITY = 0.75
"""How alike a segment and its correction are, from 0 to 1: one letter in four may differ."""

MAX_CORRECTED_CHARS = 20
MAX_CORRECTED_SEGMENTS = 8


def describe_unknown_url() -> str:
    """Return the detail of the 404 problem for the current request."""
    suggestion = next((path for path in _similar_paths() if _is_served(path)), None)
    hint = f"Did you mean {suggestion}? " if suggestion else ""
    return f"No resource has the URL {request.path}. {hint}The page /docs lists all URLs."


def _similar_paths() -> Iterator[str]:
    """Yield the corrected path as it is, below the base path, and below the root."""
    base_path = current_base_path()
    segments = [*filter(None, request.path.split("/"))]
    if len(segments) > MAX_CORRECTED_SEGMENTS:
        return
    rules = current_app.url_map.iter_rules()
    words = {word for rule in rules for word in rule.rule.split("/") if "<" not in word}
    path = "".join(f"/{_correct_segment(segment, words)}" for segment in segments)
    yield path
    path_below = OTHER_BASE_PATH.sub("", path.removeprefix(base_path))
    yield f"{base_path}{path_below}"
    yield path_below


def _correct_segment(segment: str, words: set[str]) -> str:
    """Return the word of this API that a segment resembles, else the segment."""
    word = segment.lower()
    if word in words or len(word) > MAX_CORRECTED_CHARS:
        return word if word in words else segment
    similar = get_close_matches(word, words, 1, MIN_SEGMENT_SIMILARITY)
    return SEGMENT_SYNONYMS.get(word, similar[0] if similar else segment)


def _is_served(path: str) -> bool:
    return bool(path) and current_app.url_map.bind("").test(path, request.method)
