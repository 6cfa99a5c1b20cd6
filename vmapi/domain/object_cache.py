"""Cache of values computed from immutable objects, such as the JSON of a VM.

The store returns the same VM object while its row does not change, so a value is computed once per
object and dropped with it.
"""

import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class ObjectCache(Generic[K, V]):
    """Caches one computed value per object, by identity. Thread-safe.

    The objects must be immutable and weakly referenceable; they need not be hashable.
    """

    def __init__(self, compute: Callable[[K], V]) -> None:
        self._compute = compute
        self._entries: dict[int, tuple[weakref.ref[K], V]] = {}

    def get(self, obj: K) -> V:
        """Return the value of an object; compute it for the first call."""
        key = id(obj)
        entry = self._entries.get(key)
        # an id is unique among live objects only
        if entry is not None and entry[0]() is obj:
            return entry[1]
        value = self._compute(obj)
        self._entries[key] = weakref.ref(obj, lambda _: self._entries.pop(key, None)), value
        return value

    def __len__(self) -> int:
        return len(self._entries)
