"""The state that all calls of a client share, and the conversion of requests and responses."""

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

from vmapi_client.core.deadline import MAX_TIMEOUT_SECONDS, Clock, Deadline
from vmapi_client.core.entity_tags import VMCache
from vmapi_client.core.exchange import Plan, Query, Request, Response
from vmapi_client.core.repeats import change, read, read_waiting
from vmapi_client.core.replies import (
    MALFORMED_DOCUMENT_ERRORS,
    Server,
    describe_foreign_response,
    name_key,
)
from vmapi_client.errors import NotVmapi
from vmapi_client.models import VM
from vmapi_client.models.model import JsonObject, Model, format_time

M = TypeVar("M", bound=Model)
T = TypeVar("T")

DEFAULT_TIMEOUT_SECONDS = 600.0

DEFAULT_MAX_RESPONSE_BYTES = 1 << 27
"""More than a page of 1,000 VMs has, each with all metadata that vmapi accepts."""


@dataclass(frozen=True)
class ChangeOptions:
    """The options of each change. `timeout` is in seconds; None is the client's."""

    wait: bool = False
    timeout: float | None = None
    key: str | None = None
    if_match: str | None = None


@dataclass(frozen=True)
class CallSession:
    """Sends reads and changes to one server.

    `timeout` is the default deadline of a call in seconds, or the deadline of all calls.
    `max_response_bytes` limits each response, and each event of a stream.
    """

    server: Server
    timeout: float | Deadline = DEFAULT_TIMEOUT_SECONDS
    clock: Clock = time.monotonic
    vms: VMCache = field(default_factory=VMCache)
    max_response_bytes: int = DEFAULT_MAX_RESPONSE_BYTES

    def __post_init__(self) -> None:
        if self.max_response_bytes < 1:
            raise ValueError(f"max_response_bytes is {self.max_response_bytes}: it is at least 1")

    def deadline(self, timeout: float | None, *, longest: float = MAX_TIMEOUT_SECONDS) -> Deadline:
        """Return a deadline that begins now. Raises DeadlineExceeded after that of all calls."""
        if isinstance(self.timeout, Deadline):
            return self.timeout.limit(timeout, self.clock)
        return Deadline(self.timeout if timeout is None else timeout, self.clock, longest)

    def read(
        self, request: Request, timeout: float | None, *, delay: float = 0.0
    ) -> Plan[Response]:
        """Send a read, after a delay in seconds."""
        return read(with_request_id(request), self.deadline(timeout), self.server, delay)

    def read_waiting(
        self, request: Request, deadline: Deadline, *, delay: float = 0.0
    ) -> Plan[Response]:
        """Send a read that vmapi delays until an operation is finished."""
        return read_waiting(with_request_id(request), deadline, self.server, delay)

    def change(self, request: Request, options: ChangeOptions) -> Plan[Response]:
        """Send a change under an idempotency key."""
        if options.key is not None:
            check_header_value("idempotency_key", options.key)
        if options.if_match is not None:
            request = with_headers(request, {"If-Match": options.if_match})
        return change(
            with_request_id(request),
            str(uuid.uuid4()) if options.key is None else options.key,
            self.deadline(options.timeout),
            self.server,
            wait=options.wait,
        )

    def parse(self, request: Request, response: Response, build: Callable[[Any], T]) -> T:
        """Build an object from the JSON of a response. Raises NotVmapi if it does not fit."""
        try:
            return build(response.document)
        except MALFORMED_DOCUMENT_ERRORS as error:
            text = describe_foreign_response(request, response, self.server)
            raise name_key(
                NotVmapi(f"{text} {error}", status=response.status), response.idempotency_key
            ) from error

    def parse_vm(self, request: Request, response: Response) -> VM:
        """Build the VM of a response, with its entity tag, and cache it."""

        def build(document: JsonObject) -> VM:
            return VM.from_json(
                document,
                etag=response.headers.get("etag"),
                operation_id=response.operation_id,
            )

        vm = self.parse(request, response, build)
        self.vms.save(vm)
        return vm

    def read_model(self, model: type[M], request: Request, timeout: float | None = None) -> Plan[M]:
        """Read one object."""
        response = yield from self.read(request, timeout)
        return self.parse(request, response, model.from_json)

    def read_items(
        self, model: type[M], request: Request, timeout: float | None = None
    ) -> Plan[list[M]]:
        """Read a list without pages."""
        items, _ = yield from self.read_page(model, request, timeout)
        return items

    def read_page(
        self, model: type[M], request: Request, timeout: float | None = None
    ) -> Plan[tuple[list[M], Request | None]]:
        """Read a page of a list, and return the request of the next page."""
        response = yield from self.read(request, timeout)

        def build(document: JsonObject) -> tuple[list[M], Request | None]:
            items = [model.from_json(item) for item in document["items"]]
            return items, next_page(request, document.get("next"))

        return self.parse(request, response, build)


def next_page(request: Request, url: str | None) -> Request | None:
    """Return the request of the page that `next` names: only its query counts.

    Raises ValueError for the same page, as of a proxy that ignores the query: it has no end.
    """
    if url is None:
        return None
    query = tuple(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    if query == request.query:
        raise ValueError("next names the page itself")
    return replace(request, query=query)


def with_headers(request: Request, headers: Mapping[str, str]) -> Request:
    """Return a request with more headers."""
    return replace(request, headers={**request.headers, **headers})


def with_request_id(request: Request) -> Request:
    """Return a request with an id that vmapi writes into its log."""
    return with_headers(request, {"X-Request-ID": f"req-{uuid.uuid4()}"})


def build_query(**parameters: Any) -> Query:
    """Return the parameters that are not None; an iterable repeats its parameter.

    Raises ValueError for an empty iterable: without its parameter, a list has all items.
    """
    pairs: list[tuple[str, str]] = []
    for name, value in parameters.items():
        if value is None:
            continue
        values = [value] if isinstance(value, (str, int, datetime)) else tuple(value)
        if not values:
            raise ValueError(f"{name} is empty: use None for all")
        pairs += [(name, format_parameter(item)) for item in values]
    return tuple(pairs)


def format_parameter(value: str | int | datetime) -> str:
    """Return the text of a parameter. Raises ValueError for a time without a zone."""
    if not isinstance(value, datetime):
        return str(value)
    if value.tzinfo is None:
        raise ValueError(f"{value} has no time zone: use datetime.now(timezone.utc)")
    return format_time(value)


def as_tuple(values: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """Return one text or several texts as a tuple; None stays None."""
    if values is None:
        return None
    return (values,) if isinstance(values, str) else tuple(values)


def as_list(values: str | Iterable[str] | None) -> list[str] | None:
    """Return one text or several texts as a list of JSON; None stays None."""
    items = as_tuple(values)
    return None if items is None else list(items)


def check_header_value(name: str, value: str) -> None:
    """Raise ValueError for a text that no header can hold."""
    if not (value.isascii() and value.isprintable() and value.strip()):
        raise ValueError(f"{name} is {value!r}: it has printable ASCII characters only")


def id_of(resource: VM | str) -> str:
    """Return the id of a VM, to be used in a path."""
    return resource.id if isinstance(resource, VM) else resource


def vm_path(vm: VM | str, rest: str = "") -> str:
    """Return the path of a VM. Raises ValueError for a text that is no id."""
    return f"/vms/{_path_segment(id_of(vm), 'a VM')}{rest}"


def operation_path(operation_id: str) -> str:
    """Return the path of an operation. Raises ValueError for a text that is no id."""
    return f"/operations/{_path_segment(operation_id, 'an operation')}"


def _path_segment(resource_id: str, kind: str) -> str:
    # these name another folder, and so another resource
    if resource_id in ("", ".", ".."):
        raise ValueError(f"{resource_id!r} is no id of {kind}")
    return quote(resource_id, safe="")
