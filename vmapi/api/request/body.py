"""Strict parsing of request bodies and query parameters: nothing is ignored or guessed.

flask-smorest calls the parser before a view runs. Every refusal is a 400, 413, 415 or 422.
"""

import codecs
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from threading import Lock
from typing import Any, NoReturn, Self

from cachetools import LRUCache
from flask import Request, request
from marshmallow import RAISE, Schema, ValidationError, fields
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from vmapi.api.request.caller import cursor_scope
from vmapi.errors import MalformedRequest, UnsupportedMediaType, ValidationFailed

MAX_BODY_BYTES = 1024 * 1024
"""Twice the JSON size of the largest valid create request."""

MAX_CACHED_QUERIES = 1000
MAX_CACHED_QUERY_CHARS = 500

MAX_JSON_DEPTH = 32
"""Nesting levels of objects and arrays; the API itself uses three."""

TOO_DEEP_DETAIL = f"The body is nested too deeply: the limit is {MAX_JSON_DEPTH} levels."
MAX_FIELD_ERRORS = 20
"""The errors that a response lists."""

MAX_POINTER_CHARS = 300
UNKNOWN_MESSAGE = "Unknown field."
"""The message of marshmallow about a name that a schema does not have."""


class PlacedMessage(str):
    """A message about a place in a text; `offset` is the number of characters before it."""

    offset: int

    def __new__(cls, message: str, offset: int) -> Self:
        """Build the message."""
        placed = super().__new__(cls, message)
        placed.offset = offset
        return placed


class StrictRequestParser(FlaskParser):
    """Refuses other media types, duplicate keys and parameters, and unknown fields."""

    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = {"json": RAISE, "query": RAISE}  # noqa: RUF012

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._lock = Lock()
        self._queries: LRUCache[tuple[Schema, bytes, str | None], Any] = LRUCache(
            MAX_CACHED_QUERIES
        )

    def parse(self, argmap: Any, req: Request | None = None, **kwargs: Any) -> Any:
        """Parse the body or the query; cache the immutable values of a repeated query string."""
        if not getattr(argmap, "loads_immutable", False):
            return super().parse(argmap, req, **kwargs)
        # a cursor expires, and is valid for one project
        has_cursor = b"cursor" in request.query_string
        key = (argmap, request.query_string, cursor_scope() if has_cursor else None)
        with self._lock:
            values = self._queries.get(key)
        if values is None or not argmap.are_current(values):
            values = super().parse(argmap, req, **kwargs)
            is_spelled_plainly = has_cursor == ("cursor" in request.args)
            if len(key[1]) <= MAX_CACHED_QUERY_CHARS and is_spelled_plainly:
                with self._lock:
                    self._queries[key] = values
        return values

    def load_json(self, req: Request, schema: Schema) -> Any:
        """Return the parsed body; an absent body is {} if the schema requires no field."""
        body = read_body(req)
        if body:
            return read_json(req, body)
        if req.method == "PATCH" or any(field.required for field in schema.fields.values()):
            raise MalformedRequest("The body is empty. Send a JSON object.")
        return {}

    def load_querystring(self, req: Request, schema: Schema) -> Any:
        """Return the query parameters. Raises ValidationFailed for a repeated parameter."""
        for name, values in req.args.lists():
            field = schema.fields.get(name)
            if len(values) > 1 and field is not None and not isinstance(field, fields.List):
                raise query_error({name: ["Must not be repeated."]})
        return super().load_querystring(req, schema)

    def handle_error(
        self, error: ValidationError, req: Request, schema: Schema, **kwargs: Any
    ) -> NoReturn:
        """Raise ValidationFailed with a JSON pointer to each invalid member or parameter."""
        # the outer level names the location: json or query
        ((location, messages),) = error.messages_dict.items()
        messages = messages if isinstance(messages, Mapping) else {None: messages}
        if location == "query":
            messages = _list_known_names(schema, messages, "parameter")
            raise query_error(_explain_commas(req, schema, messages)) from None
        raise validation_error(_list_known_names(schema, messages, "field")) from None


def read_body(req: Request) -> bytes:
    """Return the body. Raises MalformedRequest, or an HTTPException of werkzeug."""
    try:
        body = req.get_data()
        # werkzeug truncates a chunked body at the limit without an error
        full = req.content_length is None and len(body) == req.max_content_length
        if full and req.environ["wsgi.input"].read(1):
            raise RequestEntityTooLarge
        return body
    except HTTPException:
        raise
    except Exception as error:
        # each WSGI server has its own exceptions for malformed chunks
        raise MalformedRequest("The body cannot be read.") from error


def read_json(req: Request, body: bytes) -> Any:
    """Parse a JSON body. Raises UnsupportedMediaType or MalformedRequest."""
    _check_media_type(req)
    return parse_json(body)


def parse_json(body: bytes) -> Any:
    """Parse JSON of a client. Raises MalformedRequest."""
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
        # \ud800 is well-formed JSON, but not valid text
        json.dumps(parsed, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError:
        raise MalformedRequest("The body is not UTF-8.") from None
    except UnicodeEncodeError:
        raise MalformedRequest("The body contains an unpaired surrogate.") from None
    except RecursionError:
        raise MalformedRequest(TOO_DEEP_DETAIL) from None
    except ValueError as error:
        raise MalformedRequest(f"The body is not JSON: {str(error)[:200]}.") from None
    return parsed


def validation_error(messages: Mapping[Any, Any]) -> ValidationFailed:
    """Build the error from marshmallow's tree of messages."""
    return _build_error(messages)


def query_error(messages: Mapping[Any, Any]) -> ValidationFailed:
    """Build the error of a query; its detail names the parameter."""
    name = next(iter(messages))
    return _build_error(messages, f"Parameter {str(name)[:MAX_POINTER_CHARS]}" if name else "")


def _build_error(messages: Mapping[Any, Any], place: str = "") -> ValidationFailed:
    """Build the error. Its detail is the first message with its `place`, by default a pointer."""
    errors = list(islice(_flatten_messages("", messages), MAX_FIELD_ERRORS))
    pointer, message = errors[0][:2]
    others = f" (and {len(errors) - 1} more in errors)" if len(errors) > 1 else ""
    return ValidationFailed(f"{place or pointer or 'The request'}: {message}{others}", *errors)


def _list_known_names(schema: Schema, messages: Mapping[Any, Any], kind: str) -> dict[Any, Any]:
    """Add the names that exist to the message about each unknown name."""
    listed = dict(messages)
    for name, nested in messages.items():
        field = schema.fields.get(name)
        if isinstance(field, fields.Nested) and isinstance(nested, Mapping):
            listed[name] = _list_known_names(field.schema, nested, kind)
        elif nested == [UNKNOWN_MESSAGE]:
            known = ", ".join(sorted(schema.fields))
            listed[name] = [f"Unknown {kind}. The {kind}s are: {known}."]
    return listed


def _explain_commas(req: Request, schema: Schema, messages: Mapping[Any, Any]) -> dict[Any, Any]:
    """Add to the errors of a list with a comma in a value that the parameter is repeated."""
    explained = dict(messages)
    for name, nested in messages.items():
        is_list = isinstance(schema.fields.get(name), fields.List) and isinstance(nested, Mapping)
        if is_list and any("," in value for value in req.args.getlist(name)):
            explained[name] = {
                index: [f"{text} For several values, repeat the parameter." for text in texts]
                for index, texts in nested.items()
            }
    return explained


def _check_media_type(req: Request) -> None:
    coding = req.headers.get("Content-Encoding", "").strip()
    if coding.lower() not in ("", "identity"):
        detail = f"Send no Content-Encoding; the request has {coding[:100]}."
        raise UnsupportedMediaType(detail, compressed=True)
    is_merge_patch = req.method == "PATCH" and req.mimetype == "application/merge-patch+json"
    if req.mimetype != "application/json" and not is_merge_patch:
        media_type = req.mimetype[:100] or "no Content-Type"
        raise UnsupportedMediaType(
            f"Send Content-Type: application/json; the request has {media_type}."
        )


def _flatten_messages(base: str, messages: Any) -> Iterator[tuple[str, str] | tuple[str, str, int]]:
    if isinstance(messages, Mapping):
        for key, nested in messages.items():
            escaped = str(key).replace("~", "~0").replace("/", "~1")
            pointer = base if key in (None, "_schema") else f"{base}/{escaped}"
            yield from _flatten_messages(pointer, nested)
    else:
        for message in messages:
            pointer = base[:MAX_POINTER_CHARS]
            if isinstance(message, PlacedMessage):
                yield pointer, str(message), message.offset
            else:
                yield pointer, str(message)


def _check_depth(parsed: Any) -> None:
    level = [parsed]
    for _ in range(MAX_JSON_DEPTH + 1):
        containers = [value for value in level if isinstance(value, dict | list)]
        if not containers:
            return
        level = [value for container in containers for value in _nested_values(container)]
    raise MalformedRequest(TOO_DEEP_DETAIL)


def _nested_values(container: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members:
            # as a JSON string: the key may contain an unpaired surrogate
            raise MalformedRequest(f"The body repeats the key {json.dumps(key[:100])}.")
        members[key] = value
    return members


def _parse_int(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:
        # Python's own message suggests raising the limit
        raise ValueError("a number has too many digits") from None


def _reject_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")
