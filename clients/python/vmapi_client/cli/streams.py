"""Event streams that end with `--for` or `--timeout`."""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from vmapi_client.cli.app import App
from vmapi_client.errors import DeadlineExceeded

if TYPE_CHECKING:
    from vmapi_client.models import Event
    from vmapi_client.sync.client import Client


def read_events(
    app: App, client: "Client", duration: timedelta | None, **options: Any
) -> Iterator["Event"]:
    """Yield events for a duration. Raises DeadlineExceeded if `--timeout` passes before it."""
    seconds = None if duration is None else duration.total_seconds()
    deadline = app.deadline
    if deadline is None or (seconds is not None and seconds <= deadline.remaining):
        yield from client.events(seconds=seconds, **options)
        return
    if deadline.remaining:
        # the client ends the stream at the deadline of all its calls
        yield from client.events(seconds=deadline.seconds, **options)
    raise DeadlineExceeded(f"The stream has not ended within {deadline.seconds:g} s.")
