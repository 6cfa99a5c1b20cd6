"""The formats of `--output`, and texts of a server as lines of a terminal."""

import re
import sys
from dataclasses import dataclass
from typing import Any

SHOWN_PLACEHOLDER_CHARACTERS = 20
PLAIN_KINDS = ("table", "wide", "json", "jsonl", "yaml", "name")
PLACEHOLDER = re.compile(r"\{\{\s*\.([\w.:-]+)\s*\}\}")


@dataclass(frozen=True)
class OutputFormat:
    """A format, with the columns or the template that it needs."""

    kind: str
    columns: tuple[str, ...] = ()
    template: str = ""


def find_member(document: Any, path: str) -> Any:
    """Return a member by its dotted path, such as `metadata.env`; None without one."""
    for index, name in enumerate(parts := path.split(".")):
        if not isinstance(document, dict):
            return None
        rest = ".".join(parts[index:])
        if rest in document:
            return document[rest]
        document = document.get(name)
    return document


def fill_template(template: str, document: Any) -> str:
    """Replace the placeholders of a template."""
    return PLACEHOLDER.sub(lambda match: format_value(find_member(document, match[1])), template)


def find_unknown_placeholder(template: str) -> str | None:
    """Return the beginning of the first placeholder that no member fills; None without one."""
    # the control character keeps the texts around a placeholder apart
    _, begin, rest = PLACEHOLDER.sub("\0", template).partition("{{")
    return begin + rest[:SHOWN_PLACEHOLDER_CHARACTERS].partition("\0")[0] if begin else None


def print_line(text: str) -> None:
    """Print one line to stderr. A text of a server may have control characters."""
    print(format_value(text), file=sys.stderr, flush=True)


def format_value(value: Any, absent: str = "") -> str:
    """Return a value as one line of text without control characters."""
    if value is None:
        return absent
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ",".join(format_value(item) for item in value)
    if isinstance(value, dict):
        return ",".join(f"{key}={format_value(item)}" for key, item in value.items())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
