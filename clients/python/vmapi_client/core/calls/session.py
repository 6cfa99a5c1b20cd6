"""The state that all calls of a client share, and the conversion of requests and responses."""

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

from vmapi_client.core.deadline import Clock, Deadline
from vmapi_client.core.entity_tags import VMCache
from vmapi_client.core.exchange import Plan, Query, Request, Response
from vmapi_client.core.repeats import change, read, read_waiting
from vmapi_client.core.replies import Server, describe_foreign_response
from vmapi_client.errors import NotVmapi
from vmapi_client.models import VM
from vmapi_client.models.model import JsonObject, Model, format_time

M = TypeVar("M", bound=Model)
T = TypeVar("T")

DEFAULT_TIMEOUT_SECONDS = 600.0


@dataclass(frozen=True)
class ChangeOptions:
    """The options of each change. `timeout` is in seconds; None is the client's."""

    wait: bool = False
    timeout: float | None = None
    key: str | None = None
    if_match: str | None = None


@dataclass(frozen=True)
class CallSession:
    """Sends reads and changes to one server. `timeout` is the default deadline in seconds."""

    server: Server
    timeout: float = DEFAULT_TIMEOUT_SECONDS
    clock: Clock = time.monotonic
    vms: VMCache = field(default_factory=VMCache)

    def deadline(self, timeout: float | None) -> Deadline:
        """Return a deadline that begins now."""
        return Deadline(self.timeout if timeout is None else timeout, self.clock)

    def read(self, request: Request, timeout: float | None) -> Plan[Response]:
        """Send a read."""
        return read(with_request_id(request), self.deadline(timeout), self.server)

    def read_waiting(self, request: Request, deadline: Deadline) -> Plan[Response]:
        """Send a read that vmapi delays until an operation is finished."""
        return read_waiting(with_request_id(request), deadline, self.server)

    def change(self, request: Request, options: ChangeOptions) -> Plan[Response]:
        """Send a change under an idempotency key."""
        if options.if_match is not None:
            request = with_headers(request, {"If-Match": options.if_match})
        return change(
            with_request_id(request),
            options.key or str(uuid.uuid4()),
            self.deadline(options.timeout),
            self.server,
            wait=options.wait,
        )

    def parse(self, request: Request, response: Response, build: Callable[[Any], T]) -> T:
        """Build an object from the JSON of a response. Raises NotVmapi if it does not fit."""
        try:
            return build(response.document)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            text = describe_foreign_response(request, response, self.server)
            raise NotVmapi(f"{text} {error}", status=response.status) from error

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
    """Return the request of the page that `next` names: only its query counts."""
    if url is None:
        return None
    query = tuple(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    return replace(request, query=query)


def with_headers(request: Request, headers: Mapping[str, str]) -> Request:
    """Return a request with more headers."""
    return replace(request, headers={**request.headers, **headers})


def with_request_id(request: Request) -> Request:
    """Return a request with an id that vmapi writes into its log."""
    return with_headers(request, {"X-Request-ID": f"req-{uuid.uuid4()}"})


def build_query(**parameters: Any) -> Query:
    """Return the parameters that are not None; an iterable repeats its parameter."""
    pairs: list[tuple[str, str]] = []
    for name, value in parameters.items():
        values = [value] if isinstance(value, (str, int, datetime)) else value or ()
        pairs += [(name, format_parameter(item)) for item in values]
    return tuple(pairs)


def format_parameter(value: str | int | datetime) -> str:
    """Return the text of a parameter. Raises ValueError for a time without a zone."""
    if not isinstance(value, datetime):
        return str(value)
    if value.tzinfo is None:
        raise ValueError(f"{value} has no time zone: use datetime.now(timezone.utc)")
    return format_time(value)


def as_tuple(values: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return one text or several texts as a tuple."""
    if values is None:
        return ()
    return (values,) if isinstance(values, str) else tuple(values)


def as_list(values: Iterable[str] | None) -> list[str] | None:
    """Return texts as a list of JSON; None stays None."""
    return None if values is None else list(values)


def id_of(resource: VM | str) -> str:
    """Return the id of a VM, to be used in a path."""
    return resource.id if isinstance(resource, VM) else resource


def vm_path(vm: VM | str, rest: str = "") -> str:
    """Return the path of a VM. Raises ValueError for an empty id."""
    vm_id = id_of(vm)
    if not vm_id:
        raise ValueError("the id of the VM is empty")
    return f"/vms/{quote(vm_id, safe='')}{rest}"
