"""A batch of events: streams at one position with equal filters share it."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from vmapi.domain.event import Event

MAX_SHARED_TEXTS = 16
"""The formats of a batch in memory; streams with further formats render it for themselves."""

MAX_SHARED_TEXT_BYTES = 16 * 1024 * 1024
"""The texts of all batches of a buffer in memory."""


@dataclass(slots=True)
class TextBudget:
    """The bytes that the texts of several batches may still take."""

    remaining_bytes: int = MAX_SHARED_TEXT_BYTES


@dataclass(slots=True)
class EventBatch:
    """The next matching events of a stream, in order.

    `last` is the sequence number up to which the log was read.
    """

    events: Sequence[Event]
    last: int
    budget: TextBudget = field(default_factory=TextBudget, compare=False)
    _texts: dict[Hashable, bytes] = field(default_factory=dict, init=False)

    def find_text(self, format_key: Hashable) -> bytes | None:
        """Return the events in a format; None if no stream has rendered them."""
        return self._texts.get(format_key)

    def render(self, format_key: Hashable, render: Callable[[Sequence[Event]], bytes]) -> bytes:
        """Return the events in a format; they are rendered once for all streams."""
        text = self._texts.get(format_key)
        if text is None:
            text = render(self.events)
            is_within_budget = len(text) <= self.budget.remaining_bytes
            if len(self._texts) < MAX_SHARED_TEXTS and is_within_budget:
                self.budget.remaining_bytes -= len(text)
                self._texts[format_key] = text
        return text
