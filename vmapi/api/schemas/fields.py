"""Marshmallow fields that accept exactly the values of the contract.

Marshmallow's own fields are more lenient: they accept "yes" as a boolean and 1.0 as an integer.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from vmapi.api.request.body import MAX_FIELD_ERRORS, PlacedMessage
from vmapi.domain.metadata import (
    MAX_METADATA_PAIRS,
    MAX_METADATA_VALUE_CHARS,
    METADATA_KEY_PATTERN,
    METADATA_KEY_RULE,
    RESERVED_METADATA_PREFIX,
)
from vmapi.domain.selector import MAX_SELECTOR_CHARS, Selector, SelectorError, parse_selector
from vmapi.domain.timestamps import parse_rfc3339


def described(text: str, **metadata: Any) -> dict[str, Any]:
    """Return the keyword arguments of a field with a description in the OpenAPI document.

    A field with several allowed values also needs `enum_name`, the name of their component.
    """
    return {"metadata": {"description": text, **metadata}}


class BodySchema(Schema):
    """A JSON object in a request body, without unknown members."""

    error_messages: dict[str, str] = {"type": "Must be a JSON object."}  # noqa: RUF012

    class Meta:
        unknown = RAISE


class FullMatch(validate.Regexp):
    """A validator that matches the whole text, also with the ^ and $ that OpenAPI needs."""

    def __call__(self, value: Any) -> Any:
        """Return the value. Raises marshmallow's ValidationError."""
        if self.regex.fullmatch(value) is None:
            raise ValidationError(self.error or f"Must match {self.regex.pattern!s}.")
        return value


class NulFreeString(fields.String):
    """A string without the NUL character, which no cloud can store."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        if "\0" in text:
            raise ValidationError("Must not contain the NUL character.")
        return text


class NameFilter(NulFreeString):
    """A name to search for, of up to 255 characters; with `prefix`, `*` may be the last one.

    Elsewhere a `*` would match nothing, which looks like the answer to a valid query.
    """

    def __init__(self, *, prefix: bool = False, **kwargs: Any) -> None:
        wildcard = "[*]?" if prefix else ""
        error = "Must have * as its last character only." if prefix else "Must not contain a *."
        match = FullMatch(rf"^[^\x00*]*{wildcard}$", error=error)
        super().__init__(validate=[validate.Length(1, 255), match], **kwargs)


class BoundedList(fields.List[Any]):
    """A list with a maximum length, validated before the items; reports a few bad items only.

    A body of 1 MiB has some hundred thousand items, and each error costs more than its item.
    """

    def __init__(
        self, inner: fields.Field[Any], *, max_length: int, min_length: int = 0, **kwargs: Any
    ) -> None:
        length = validate.Length(min_length or None, max_length)
        messages: dict[str, Any] = {"invalid": "Must be a list."}
        super().__init__(inner, validate=length, error_messages=messages, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> list[Any]:
        if not isinstance(value, list | tuple):
            raise self.make_error("invalid")
        self._validate(value)
        items: list[Any] = []
        errors: dict[int, Any] = {}
        for index, item in enumerate(value):
            try:
                items.append(self.inner.deserialize(item))
            except ValidationError as error:
                errors[index] = error.messages
                if len(errors) == MAX_FIELD_ERRORS:
                    break
        if errors:
            raise ValidationError(errors)
        return items


class StrictBoolean(fields.Boolean):
    """A JSON boolean: true or false only."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class QueryInteger(fields.Integer):
    """A non-negative integer in a query, in at most 18 ASCII digits, with one error for all."""

    def __init__(self, minimum: int = 0, maximum: int | None = None, **kwargs: Any) -> None:
        limits = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
        error = f"Must be a whole number {limits}."
        kwargs["error_messages"] = {"invalid": error} | kwargs.get("error_messages", {})
        super().__init__(validate=validate.Range(minimum, maximum, error=error), **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> int:
        if not isinstance(value, str) or re.fullmatch("[0-9]{1,18}", value) is None:
            raise self.make_error("invalid", input=value)
        return int(value)


class RFC3339Field(fields.AwareDateTime):
    """An RFC 3339 time with its offset."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> datetime:
        # an unescaped + in a query arrives as a space
        text = value.replace(" ", "+") if isinstance(value, str) else ""
        try:
            return parse_rfc3339(text)
        except ValueError as error:
            raise ValidationError(str(error)) from None


class SelectorField(fields.String):
    """A selector of VMs by their metadata."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.metadata = {**self.metadata, "minLength": 1, "maxLength": MAX_SELECTOR_CHARS}

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Selector:  # type: ignore[override]
        try:
            return parse_selector(super()._deserialize(value, *args, **kwargs))
        except SelectorError as error:
            raise ValidationError(PlacedMessage(str(error), error.offset)) from None


class MetadataField(fields.Field[dict[str, Any]]):
    """Pairs of strings; with `patch`, null removes a pair (RFC 7396)."""

    def __init__(self, *, patch: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.patch = patch

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ValidationError("Must be an object of strings.")
        # operations store a patch for weeks: a null counts too
        if len(value) > MAX_METADATA_PAIRS:
            raise ValidationError(f"At most {MAX_METADATA_PAIRS} keys are allowed.")
        invalid_pairs = (
            (key, messages) for key in value if (messages := self._pair_errors(key, value[key]))
        )
        if errors := dict(islice(invalid_pairs, MAX_FIELD_ERRORS)):
            raise ValidationError(errors)
        return dict(value)

    def _pair_errors(self, key: str, value: Any) -> list[str]:
        if re.fullmatch(METADATA_KEY_PATTERN, key) is None:
            return [f"The key must have {METADATA_KEY_RULE}."]
        if key.startswith(RESERVED_METADATA_PREFIX):
            return [f"Keys that begin with {RESERVED_METADATA_PREFIX} are reserved."]
        if value is None and self.patch:
            return []
        if not isinstance(value, str):
            return ["Must be a string."]
        if len(value) > MAX_METADATA_VALUE_CHARS or "\0" in value:
            return [f"Must have at most {MAX_METADATA_VALUE_CHARS} characters and no NUL."]
        return []
