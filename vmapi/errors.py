"""The errors of vmapi. Each has a stable code, which is never renamed or reused.

::

    VmapiError
    ├── RequestError
    │   ├── MalformedRequest, ValidationFailed, NotFound, MethodNotAllowed
    │   └── PayloadTooLarge, UnsupportedMediaType, IdempotencyKeyReused, RateLimited
    ├── ResourceNotFound
    │   ├── VMNotFound, OperationNotFound, FlavorNotFound, ImageNotFound, NetworkNotFound
    │   └── KeyNotFound, SecurityGroupNotFound
    ├── AmbiguousName
    │   └── ImageAmbiguous, NetworkAmbiguous, SecurityGroupAmbiguous
    ├── Conflict
    │   ├── InvalidState, TaskInProgress, VMLocked, NameTaken
    │   └── IdempotencyInProgress, BulkIncomplete
    ├── PreconditionFailed, Unauthenticated
    ├── Forbidden
    │   └── QuotaExceeded
    ├── BackendFailure
    │   ├── BackendError, BackendUnavailable, BackendTimeout
    │   └── NoCapacity, BuildFailed, OperationTimeout, BackendLost
    ├── StoreUnavailable, IssuerUnavailable, UnderMaintenance, InternalError
    └── SettingsError

HTTP statuses and titles are in `vmapi.api.problems.types`. A class that is raised has a code; a
class without one only groups others.
"""

from typing import ClassVar

FIELD_ERROR_MEMBERS = "pointer", "message", "offset"


class VmapiError(Exception):
    """The root of all errors. A subclass has `code`, `pointer` and `retry_after` as class keywords.

    `detail` is a sentence for the client. `extra` holds further members of the problem document.
    `reason` has the words of a library or a service: for operators, not for clients.
    """

    code: ClassVar[str]
    classes_by_code: ClassVar[dict[str, type["VmapiError"]]] = {}

    #: The JSON pointer (RFC 6901) of the member of the request body that the error is about.
    pointer: ClassVar[str | None] = None

    #: True if the cloud did not respond: the circuit breaker counts the call as a failure.
    backend_unresponsive: ClassVar[bool] = False

    #: Seconds after which a retry makes sense (the Retry-After header); None for no such hint.
    retry_after: int | None = None

    #: True if this is the recorded outcome of an earlier request with the same idempotency key.
    replayed: bool = False
    reason: str = ""

    def __init_subclass__(
        cls, *, code: str | None = None, pointer: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init_subclass__()
        if code is not None:
            cls.code = code
            VmapiError.classes_by_code[code] = cls
        if pointer is not None:
            cls.pointer = pointer
        if retry_after is not None:
            cls.retry_after = retry_after

    def __init__(self, detail: str, **extra: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class RequestError(VmapiError):
    """The request is invalid, whatever the state of the cloud."""


class MalformedRequest(RequestError, code="malformed_request"):
    """The body does not parse, or a header is malformed."""


class ValidationFailed(RequestError, code="validation_error"):
    """The request is well-formed but breaks the contract.

    `errors` are a JSON pointer (RFC 6901) and a message each, and an offset in a text if known.
    """

    def __init__(self, detail: str, *errors: tuple[str | int, ...], **extra: object) -> None:
        listed = [dict(zip(FIELD_ERROR_MEMBERS, error, strict=False)) for error in errors]
        super().__init__(detail, **{"errors": listed, **extra})


class NotFound(RequestError, code="not_found"):
    """No route matches the URL."""


class MethodNotAllowed(RequestError, code="method_not_allowed"):
    """The URL exists, but not with this method."""


class PayloadTooLarge(RequestError, code="payload_too_large"):
    """The body exceeds the size limit."""


class UnsupportedMediaType(RequestError, code="unsupported_media_type"):
    """The endpoint does not accept the media type of the body, or its compression."""

    def __init__(self, detail: str, *, compressed: bool = False, **extra: object) -> None:
        super().__init__(detail, **extra)
        self.compressed = compressed


class IdempotencyKeyReused(RequestError, code="idempotency_key_reused"):
    """The caller has used the idempotency key for a different request."""


class RateLimited(RequestError, code="rate_limited"):
    """The caller exceeds a rate limit or a limit on concurrent streams."""

    def __init__(self, detail: str, *, retry_after: int = 1, **extra: object) -> None:
        super().__init__(detail, **extra)
        self.retry_after = retry_after


class ResourceNotFound(VmapiError):
    """A resource that the request names does not exist."""


class VMNotFound(ResourceNotFound, code="vm_not_found"):
    """No VM has this id. A `hidden` VM may exist where vmapi's credentials cannot see it."""

    def __init__(self, detail: str, *, hidden: bool = False, **extra: object) -> None:
        super().__init__(detail, **extra)
        self.hidden = hidden


class OperationNotFound(ResourceNotFound, code="operation_not_found"):
    """No operation has this id."""


class FlavorNotFound(ResourceNotFound, code="flavor_not_found", pointer="/flavor"):
    """The cloud has no such flavor."""


class ImageNotFound(ResourceNotFound, code="image_not_found", pointer="/image"):
    """The cloud has no such image, or the image is not active."""


class NetworkNotFound(ResourceNotFound, code="network_not_found", pointer="/network"):
    """The cloud has no such network."""


class KeyNotFound(ResourceNotFound, code="key_not_found", pointer="/key_name"):
    """The cloud has no such key pair."""


class SecurityGroupNotFound(
    ResourceNotFound, code="security_group_not_found", pointer="/security_groups"
):
    """The cloud has no such security group."""


class AmbiguousName(VmapiError):
    """Several resources have the name: the request needs an id."""


class ImageAmbiguous(AmbiguousName, code="image_ambiguous", pointer="/image"):
    """Several images have this name."""


class NetworkAmbiguous(AmbiguousName, code="network_ambiguous", pointer="/network"):
    """Several networks have this name, or the request names none and there are several."""


class SecurityGroupAmbiguous(
    AmbiguousName, code="security_group_ambiguous", pointer="/security_groups"
):
    """Several security groups have one of these names."""


class Conflict(VmapiError):
    """The request conflicts with the current state of a resource."""


class InvalidState(Conflict, code="invalid_state"):
    """The state of the VM does not allow the action."""


class TaskInProgress(Conflict, code="task_in_progress"):
    """Another operation on the VM is in progress."""


class VMLocked(Conflict, code="vm_locked"):
    """The VM is locked in the cloud."""


class NameTaken(Conflict, code="name_taken"):
    """Another live VM has this name."""


class BulkIncomplete(Conflict, code="bulk_incomplete"):
    """A bulk action did not change every one of its VMs."""


class IdempotencyInProgress(Conflict, code="idempotency_in_progress", retry_after=2):
    """The first request with this idempotency key has no response yet."""


class Unauthenticated(VmapiError, code="unauthenticated"):
    """The request has no credentials, or credentials that are not valid."""

    def __init__(self, detail: str, *, credentials_sent: bool = False, **extra: object) -> None:
        super().__init__(detail, **extra)
        self.credentials_sent = credentials_sent


class PreconditionFailed(VmapiError, code="precondition_failed"):
    """The VM has changed since the client read it; the extra member `etag` is its current tag."""


class Forbidden(VmapiError, code="forbidden"):
    """The caller's role or the policy of the cloud does not permit the request."""


class QuotaExceeded(Forbidden, code="quota_exceeded"):
    """The quota of the project, in vmapi or in the cloud, is used up."""


class BackendFailure(VmapiError):
    """The cloud failed, at the call or later."""


class BackendError(BackendFailure, code="backend_error"):
    """The cloud responded with an error, or with a response that makes no sense."""


class BackendUnavailable(BackendFailure, code="backend_unavailable"):
    """The cloud cannot be reached. Nothing was sent."""

    backend_unresponsive = True

    #: True if the cloud refuses requests because of their rate: callers wait for `retry_after`.
    is_throttled: ClassVar[bool] = False

    def __init__(self, detail: str, *, retry_after: int = 5, **extra: object) -> None:
        super().__init__(detail, **extra)
        self.retry_after = retry_after


class BackendTimeout(BackendFailure, code="backend_timeout"):
    """The cloud did not respond in time: the outcome of the call is unknown."""

    backend_unresponsive = True


class NoCapacity(BackendFailure, code="no_capacity"):
    """No host has room for the VM."""


class BuildFailed(BackendFailure, code="build_failed"):
    """A host accepted the VM and could not build it."""


class OperationTimeout(BackendFailure, code="operation_timeout"):
    """The operation did not finish before its deadline."""


class BackendLost(BackendFailure, code="backend_lost"):
    """The VM disappeared during the operation."""


class StoreUnavailable(VmapiError, code="store_unavailable", retry_after=5):
    """The database of vmapi is unavailable. `reason` is for operators, not for clients."""

    def __init__(self, detail: str, *, reason: str | None = None, **extra: object) -> None:
        super().__init__(detail, **extra)
        self.reason = reason or detail


class IssuerUnavailable(VmapiError, code="issuer_unavailable", retry_after=5):
    """The token issuer (OIDC provider or Keystone) does not respond."""


class UnderMaintenance(VmapiError, code="under_maintenance", retry_after=60):
    """The proxy in front of vmapi answers in its place, with this code. vmapi does not raise it."""


class InternalError(VmapiError, code="internal_error"):
    """A defect of vmapi."""


class SettingsError(VmapiError, code="settings_error"):
    """A setting is unknown or its value is invalid: the app does not start."""


def error_class(code: str) -> type[VmapiError]:
    """Return the error class of a code; BackendError if no class has it."""
    return VmapiError.classes_by_code.get(code, BackendError)
