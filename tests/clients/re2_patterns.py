"""Compile each pattern of the OpenAPI document with RE2, as Go programs do."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import re2


def patterns(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from patterns(item)
    elif isinstance(value, dict):
        if isinstance(value.get("pattern"), str):
            yield value["pattern"]
        yield from patterns(list(value.values()))


document = json.loads(Path("openapi.json").read_text())
compiled = {re2.compile(pattern) for pattern in patterns(document)}
print(f"{len(compiled)} patterns")
