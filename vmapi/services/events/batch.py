"""A batch of events: streams at one position with equal filters share it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vmapi.domain.event import Event


@dataclass(slots=True)
class EventBatch:
    """The next matching events of a stream, in order.

    `last` is the sequence number up to which the log was read.
    """

    events: Sequence[Event]
    last: int
    _text: bytes | None = field(default=None, init=False)

    def render(self, render: Callable[[Sequence[Event]], bytes]) -> bytes:
        """Return the rendered events; they are rendered once for all streams."""
        if self._text is None:
            self._text = render(self.events)
        return self._text
