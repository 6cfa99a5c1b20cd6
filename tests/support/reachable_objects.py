"""Searches all objects that an object refers to."""

import gc
from types import FunctionType, ModuleType


def holds_text(root: object, text: str) -> bool:
    """Return whether a string or bytes object reachable from `root` contains a text."""
    pending, seen = [root], set()
    while pending:
        item = pending.pop()
        if id(item) in seen or isinstance(item, type | ModuleType | FunctionType):
            continue
        seen.add(id(item))
        if isinstance(item, str) and text in item:
            return True
        if isinstance(item, bytes | bytearray) and text.encode() in item:
            return True
        pending.extend(gc.get_referents(item))
    return False
