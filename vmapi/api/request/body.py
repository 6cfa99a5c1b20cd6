"""Reading what clients send, strictly: nothing is ignored, nothing is guessed."""

import codecs
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

from flask import Request
from marshmallow import RAISE, Schema, ValidationError, fields
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from vmapi.errors import MalformedRequest, UnsupportedMediaType, ValidationFailed

MAX_JSON_DEPTH = 32
"""How many objects and arrays may lie in one another; what the contract takes has three."""

TOO_DEEP_DETAIL = f"The body is nested too deeply: at most {MAX_JSON_DEPTH} levels are taken."
MAX_FIELD_ERRORS = 20
MAX_POINTER_CHARS = 300


class StrictRequestParser(FlaskParser):
    """Refuses other media types, duplicate keys and parameters, and fields that are not known."""

    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = {"json": RAISE, "query": RAISE}  # noqa: RUF012

    def load_json(self, req: Request, schema: Schema) -> Any:
        """Return the body; one that is not sent counts as empty where it may be left out."""
        body = read_body(req)
        if body:
            return read_json(req, body)
        if req.method == "PATCH" or any(field.required for field in schema.fields.values()):
            raise MalformedRequest("The body is empty; a JSON object is wanted.")
        return {}

    def load_querystring(self, req: Request, schema: Schema) -> Any:
        """Return the parameters of the query."""
        for name, values in req.args.lists():
            field = schema.fields.get(name)
            if len(values) > 1 and field is not None and not isinstance(field, fields.List):
                raise validation_error({name: ["Given more than once."]})
        return super().load_querystring(req, schema)

    def handle_error(self, error: ValidationError, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise ValidationFailed with a pointer to each place."""
        # the outer level names the location: json, query
        messages = error.messages if isinstance(error.messages, dict) else {None: error.messages}
        merged: dict[str | None, Any] = {}
        for found in messages.values():
            merged |= found if isinstance(found, dict) else {None: found}
        raise validation_error(merged) from None


def read_body(req: Request) -> bytes:
    """Return the body. Raises MalformedRequest, and what werkzeug refuses it with."""
    try:
        body = req.get_data()
        # of one that comes in chunks werkzeug takes what is allowed, and says nothing of the rest
        full = req.content_length is None and len(body) == req.max_content_length
        if full and req.environ["wsgi.input"].read(1):
            raise RequestEntityTooLarge
        return body
    except HTTPException:
        raise
    except Exception as error:
        # each server has errors of its own for chunks that are none
        raise MalformedRequest("The body cannot be read.") from error


def read_json(req: Request, body: bytes) -> Any:
    """Parse a body. Raises UnsupportedMediaType, MalformedRequest."""
    coding = req.headers.get("Content-Encoding", "").strip()
    if coding.lower() not in ("", "identity"):
        detail = f"Send no Content-Encoding; this came as {coding[:100]}."
        raise UnsupportedMediaType(detail, compressed=True)
    patch = req.method == "PATCH" and req.mimetype == "application/merge-patch+json"
    if req.mimetype != "application/json" and not patch:
        sent = req.mimetype[:100] or "no Content-Type"
        raise UnsupportedMediaType(f"Send Content-Type: application/json; this came as {sent}.")
    if body.startswith(codecs.BOM_UTF8):
        raise MalformedRequest("Send the body without a byte order mark.")
    try:
        parsed = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_reject_duplicate_keys,
            parse_constant=_reject_constant,
            parse_int=_parse_int,
        )
        _check_depth(parsed)
        # \ud800 is well-formed JSON, but no text
        json.dumps(parsed, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError:
        raise MalformedRequest("The body is not UTF-8.") from None
    except UnicodeEncodeError:
        raise MalformedRequest("A text holds half a surrogate pair: no character.") from None
    except RecursionError:
        raise MalformedRequest(TOO_DEEP_DETAIL) from None
    except ValueError as error:
        raise MalformedRequest(f"The body is not JSON: {str(error)[:200]}.") from None
    return parsed


def validation_error(messages: Mapping[Any, Any]) -> ValidationFailed:
    """Make the error from marshmallow's tree of messages."""
    listed = list(_flatten_messages("", messages))[:MAX_FIELD_ERRORS]
    first, message = listed[0]
    return ValidationFailed(f"{first or 'The request'}: {message}", *listed)


def _flatten_messages(base: str, messages: Any) -> Iterator[tuple[str, str]]:
    if isinstance(messages, Mapping):
        for key, below in messages.items():
            here = str(key).replace("~", "~0").replace("/", "~1")
            yield from _flatten_messages(
                base if key in (None, "_schema") else f"{base}/{here}", below
            )
    else:
        for message in messages:
            yield base[:MAX_POINTER_CHARS], str(message)


def _check_depth(parsed: Any) -> None:
    level = [parsed]
    for _ in range(MAX_JSON_DEPTH + 1):
        nested = [each for each in level if isinstance(each, dict | list)]
        if not nested:
            return
        level = [below for each in nested for below in _nested_values(each)]
    raise MalformedRequest(TOO_DEEP_DETAIL)


def _nested_values(nested: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return nested.values() if isinstance(nested, dict) else nested


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            # in the notation of JSON, since it need not be text
            raise ValueError(f"the key {json.dumps(key[:100])} stands twice in one object")
        seen[key] = value
    return seen


def _parse_int(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:
        # Python reads some thousand digits, and advises to have it read more
        raise ValueError("a number has too many digits") from None


def _reject_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")
