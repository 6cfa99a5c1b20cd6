"""The base class of all data that vmapi returns, and its conversion from and to JSON."""

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from datetime import datetime, timezone
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

JsonObject = Mapping[str, Any]
M = TypeVar("M", bound="Model")

CLIENT_ONLY = "client_only"
"""Key in the metadata of fields that are not members of the JSON object."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """One JSON object of vmapi. `extra` has the members that this version does not know."""

    extra: JsonObject = field(
        default_factory=dict, repr=False, hash=False, metadata={CLIENT_ONLY: True}
    )

    @classmethod
    def from_json(cls: type[M], document: JsonObject, **client_only: Any) -> M:
        """Build the object from JSON.

        Raises ValueError if a member is missing or of a wrong type, or without a JSON object.
        """
        if not isinstance(document, Mapping):
            raise ValueError(f"{cls.__name__} is not a JSON object: {document!r:.80}")
        members = members_of(cls)
        missing = [name for name in members.required if name not in document]
        if missing:
            raise ValueError(f"{cls.__name__} has no member {', '.join(missing)}")
        present = [name for name in members.readers if name in document]
        try:
            values = {name: members.readers[name](document[name]) for name in present}
        except (TypeError, AttributeError) as error:
            raise ValueError(f"{cls.__name__} has a member of a wrong type: {error}") from error
        extra = {name: value for name, value in document.items() if name not in members.readers}
        return cls(**values, extra=extra, **client_only)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object, with members that this version does not know."""
        known = members_of(type(self))
        members = {
            name: _to_json(value)
            for name in known.readers
            if (value := getattr(self, name)) is not None or name in known.required
        }
        return {**members, **self.extra}


@dataclass(frozen=True)
class Members:
    """The members of a class: a conversion from JSON for each, and those without a default."""

    readers: Mapping[str, Callable[[Any], Any]]
    required: tuple[str, ...]


def members_of(cls: type[Model]) -> Members:
    """Return the members of a class."""
    return _read_members(cast(Any, cls))


@cache
def _read_members(cls: Any) -> Members:
    hints = get_type_hints(cls)
    items = [item for item in fields(cls) if not item.metadata.get(CLIENT_ONLY)]
    required = (i.name for i in items if i.default is MISSING and i.default_factory is MISSING)
    return Members({item.name: _reader(hints[item.name]) for item in items}, tuple(required))


def parse_time(text: str) -> datetime:
    """Parse a time of vmapi (RFC 3339, UTC)."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def format_time(time: datetime) -> str:
    """Format an aware time as vmapi does (RFC 3339, UTC)."""
    return time.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def _reader(hint: Any) -> Callable[[Any], Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        inner = _reader(next(part for part in arguments if part is not type(None)))
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        item = _reader(arguments[0])
        return lambda value: tuple(map(item, value))
    if hint is datetime:
        return parse_time
    if is_dataclass(hint) and issubclass(cast(Any, hint), Model):
        return cast("type[Model]", hint).from_json
    return lambda value: value


def _to_json(value: Any) -> Any:
    if isinstance(value, Model):
        return value.to_json()
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, tuple):
        return [_to_json(item) for item in value]
    return value
