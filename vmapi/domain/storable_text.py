"""Text that every database, JSON encoder and column can hold.

PostgreSQL refuses NUL, UTF-8 has no lone surrogates, and columns have lengths. Drivers pass
text of the cloud through these functions, and so do operations with the errors of the cloud.
"""

import re
from collections.abc import Mapping
from typing import Any

UNSTORABLE_CHARACTERS = re.compile("[\0\ud800-\udfff]")

REPLACEMENT_CHARACTER = "\ufffd"


def storable_text(text: str, max_chars: int | None = None) -> str:
    """Return a text with NUL and lone surrogates replaced by U+FFFD, cut to `max_chars`."""
    return UNSTORABLE_CHARACTERS.sub(REPLACEMENT_CHARACTER, text[:max_chars])


def storable_json(value: Any) -> Any:
    """Return a JSON value with storable texts and keys."""
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, Mapping):
        return {storable_text(str(key)): storable_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable_json(item) for item in value]
    return value
