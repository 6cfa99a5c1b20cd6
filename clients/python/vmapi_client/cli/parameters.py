"""The types of arguments and options. Each refusal says which values are accepted."""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import click

from vmapi_client.core.deadline import MAX_DURATION_SECONDS, MAX_TIMEOUT_SECONDS

MAX_COUNT = 1_000_000_000
DURATION_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Text(click.ParamType[str]):
    """A text of at least one character: an unset variable of a script is refused."""

    name = "text"
    accepted: str = ""
    """The accepted values; empty for the help of the option."""

    def __init__(self, accepted: str = "") -> None:
        self.accepted = accepted or self.accepted

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text."""
        text = str(value)
        if not text:
            help_text = getattr(param, "help", None) or "one character or more"
            accepted = self.accepted or str(help_text).rstrip(".")
            self.fail(f"it is empty. Accepted: {accepted}.", param, ctx)
        if not self.is_accepted(text):
            self.fail(f"{text!r} is refused. Accepted: {self.accepted}.", param, ctx)
        return text

    def is_accepted(self, text: str) -> bool:
        """Return whether a text that is not empty is a value."""
        return True


class StatusChoice(click.Choice[str]):
    """Statuses in upper or lower case. Help and refusals show them as vmapi does."""

    def __init__(self, statuses: Sequence[str]) -> None:
        super().__init__(statuses, case_sensitive=False)

    def normalize_choice(self, choice: object, ctx: click.Context | None) -> str:
        """Return a status in upper case."""
        return str(choice).upper()


class OperationId(Text):
    """The id of an operation."""

    accepted = "an id of 'vmctl operation list'"

    def is_accepted(self, text: str) -> bool:
        """Return whether a text names no other folder in a path."""
        return text not in (".", "..")


class EventId(Text):
    """The id of an event. vmapi would answer another text with all stored events."""

    accepted = "the id of an event, up to 18 digits: see 'vmctl event watch -o jsonl'"

    def is_accepted(self, text: str) -> bool:
        """Return whether a text may be the id of an event."""
        return re.fullmatch("[0-9]{1,18}", text) is not None


class HeaderText(Text):
    """A text that a header can hold."""

    accepted = "printable ASCII characters"

    def is_accepted(self, text: str) -> bool:
        """Return whether a text is printable ASCII, and not only spaces."""
        return text.isascii() and text.isprintable() and bool(text.strip())


class Count(click.IntRange):
    """A whole number in a range."""

    def __init__(self, min: int, max: int = MAX_COUNT) -> None:
        super().__init__(min, max)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is no whole number from {self.min} to {self.max}.", param, ctx)


class Duration(click.ParamType[timedelta]):
    """A duration such as 90, 30s, 5m, 2h, 1d."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Parse a duration. A number without a unit is in seconds."""
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", str(value))
        if match is None:
            self.fail(f"{value!r} is no duration: use 30s, 5m, 2h, 1d or 1w", param, ctx)
        seconds = float(match[1]) * DURATION_UNITS[match[2] or "s"]
        if seconds > MAX_DURATION_SECONDS:
            self.fail(f"{value!r} is too long: a duration has up to 5200w", param, ctx)
        return timedelta(seconds=seconds)


class StreamDuration(Duration):
    """A duration that a stream may have."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Parse a duration above 0."""
        duration = super().convert(value, param, ctx)
        if not duration:
            self.fail(f"{value!r} is too short: a stream has a duration above 0", param, ctx)
        return duration


class Timeout(Duration):
    """A duration that a deadline may have."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Parse a duration above 0 and up to 23 hours."""
        timeout = super().convert(value, param, ctx)
        if not 0 < timeout.total_seconds() <= MAX_TIMEOUT_SECONDS:
            self.fail(f"{value!r} is no timeout: it is above 0 and up to 23h", param, ctx)
        return timeout


def refuse_empty_texts(command: click.Command) -> None:
    """Make all texts of a command, and of the commands below it, need a character."""
    for param in command.params:
        if param.type is click.STRING:
            param.type = Text()
    for child in getattr(command, "commands", {}).values():
        refuse_empty_texts(child)
