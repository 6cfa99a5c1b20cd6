"""Problem documents (RFC 9457): the reason why a request or an operation failed."""

from dataclasses import dataclass

from vmapi_client.models.model import Model


@dataclass(frozen=True, kw_only=True)
class FieldError(Model):
    """One invalid place of a request. `pointer` is a JSON pointer (RFC 6901).

    `offset` is the number of characters before the place in a selector.
    """

    pointer: str
    message: str
    offset: int | None = None


@dataclass(frozen=True, kw_only=True)
class Problem(Model):
    """A problem document. `code` is stable; `title` and `detail` are texts for people."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    instance: str | None = None
    request_id: str | None = None
    errors: tuple[FieldError, ...] = ()
    current_status: str | None = None
    task: str | None = None
    allowed_actions: tuple[str, ...] = ()
    vm_id: str | None = None
    operation: str | None = None
    role_needed: str | None = None
    etag: str | None = None
    hint: str | None = None
