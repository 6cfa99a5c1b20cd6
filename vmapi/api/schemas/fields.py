"""Fields that take exactly what the contract says, where marshmallow's own are kinder."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from marshmallow import ValidationError, fields, validate

from vmapi.domain.vm import MAX_METADATA_PAIRS, RESERVED_METADATA_PREFIX

METADATA_KEY_PATTERN = "^[A-Za-z0-9_.: -]{1,255}$"
"""What Nova takes as a key: https://docs.openstack.org/api-ref/compute/#create-server"""

RFC3339_PATTERN = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


class FullMatch(validate.Regexp):
    """The whole text must match; written with ^ and $ as OpenAPI wants it."""

    def __call__(self, value: Any) -> Any:
        """Return the value. Raises marshmallow's ValidationError."""
        if self.regex.fullmatch(value) is None:
            raise ValidationError(self.error or f"Must match {self.regex.pattern!s}.")
        return value


class NulFreeString(fields.String):
    """A string without NUL, which no cloud can store."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        if "\0" in text:
            raise ValidationError("Must not contain the NUL character.")
        return text


class StrictBoolean(fields.Boolean):
    """true or false, and nothing that merely resembles them."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class QueryInteger(fields.Integer):
    """A whole number in a query, in ASCII digits."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> int:
        if not isinstance(value, str) or re.fullmatch("[0-9]{1,18}", value) is None:
            raise self.make_error("invalid", input=value)
        return int(value)


class RFC3339Field(fields.AwareDateTime):
    """A time of RFC 3339, with its offset."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> datetime:
        # in a query an unescaped + arrives as a space
        text = value.replace(" ", "+") if isinstance(value, str) else ""
        if RFC3339_PATTERN.fullmatch(text) is None:
            raise ValidationError("Must be an RFC 3339 time with offset: 2026-02-25T10:30:00Z.")
        try:
            return datetime.fromisoformat(text.upper())
        except (ValueError, OverflowError):
            raise ValidationError("No such time.") from None


class MetadataField(fields.Field[dict[str, Any]]):
    """Pairs of texts; with `patch`, null removes a pair (RFC 7396)."""

    def __init__(self, *, patch: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.patch = patch

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ValidationError("Must be an object of texts.")
        # null is no pair; how many there are is bounded by the body
        if sum(each is not None for each in value.values()) > MAX_METADATA_PAIRS:
            raise ValidationError(f"At most {MAX_METADATA_PAIRS} pairs are allowed.")
        wrong = {key: found for key in value if (found := self._pair_errors(key, value[key]))}
        if wrong:
            raise ValidationError(wrong)
        return dict(value)

    def _pair_errors(self, key: str, value: Any) -> list[str]:
        if re.fullmatch(METADATA_KEY_PATTERN, key) is None:
            return ["The key must be 1 to 255 of letters, digits, space and _ . : - characters."]
        if key.startswith(RESERVED_METADATA_PREFIX):
            return [f"Keys that begin with {RESERVED_METADATA_PREFIX} are reserved."]
        if value is None and self.patch:
            return []
        if not isinstance(value, str):
            return ["Must be a text."]
        if len(value) > 255 or "\0" in value:
            return ["Must be at most 255 characters, none of them NUL."]
        return []
