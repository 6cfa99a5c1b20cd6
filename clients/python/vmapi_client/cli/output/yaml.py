"""JSON documents as YAML 1.2 in block style."""

import json
import re
from collections.abc import Iterator
from typing import Any

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
UNSAFE = re.compile("[^ -~]")
RESERVED = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def format_yaml(document: Any) -> str:
    """Return a document as YAML. A string with any doubt is quoted as in JSON."""
    return "\n".join(_format_lines(document)) + "\n"


def _format_lines(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _format_entry(f"{_format_scalar(key)}:", item)
    elif isinstance(value, list) and value:
        for item in value:
            first, *rest = _format_lines(item)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
    else:
        yield _format_scalar(value)


def _format_entry(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, (dict, list)) and value:
        yield key
        yield from (f"  {line}" for line in _format_lines(value))
    else:
        yield f"{key} {_format_scalar(value)}"


def _format_scalar(value: Any) -> str:
    if isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in RESERVED:
        return value
    # in YAML, the surrogates of JSON are two characters
    return UNSAFE.sub(_escape, json.dumps(value, ensure_ascii=False))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"
