"""Every error of the domain, each with a stable code that is never renamed or reused.

::

    VmapiError
    ├── RequestError
    │   ├── MalformedRequest, ValidationFailed, NotFound, MethodNotAllowed
    │   ├── PayloadTooLarge, UnsupportedMediaType, IdempotencyKeyReused
    │   └── RateLimited
    ├── Missing
    │   ├── VMNotFound, OperationNotFound
    │   ├── FlavorNotFound, ImageNotFound, NetworkNotFound
    │   └── KeyNotFound, SecurityGroupNotFound
    ├── Ambiguous
    │   └── ImageAmbiguous, NetworkAmbiguous
    ├── Conflict
    │   └── InvalidState, TaskInProgress, VMLocked, NameTaken, IdempotencyInProgress
    ├── PreconditionFailed
    ├── Unauthenticated
    ├── Forbidden
    │   └── QuotaExceeded
    ├── BackendFailure
    │   ├── BackendError, BackendUnavailable, BackendTimeout
    │   └── NoCapacity, BuildFailed, OperationTimeout, BackendLost
    ├── StoreUnavailable
    ├── IssuerUnavailable
    ├── InternalError
    └── SettingsError

HTTP numbers, titles and explanations are in `vmapi.api.problems`.
"""

from typing import ClassVar


class VmapiError(Exception):
    """The root. `detail` is for the client; `extra` holds members that its problem also shows.

    `away` tells that the cloud has not answered; `pointer` names the place in the request's body
    that such an error is about (RFC 6901); `replayed` tells that it is the outcome of the same
    request, which was made before.
    """

    code: ClassVar[str]
    backend_unresponsive: ClassVar[bool] = False
    pointer: ClassVar[str | None] = None
    replayed = False

    def __init__(self, detail: str, **extra: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class RequestError(VmapiError):
    """The request itself is at fault."""


class MalformedRequest(RequestError):
    """A body that does not parse, or a header that is malformed."""

    code = "malformed_request"


class ValidationFailed(RequestError):
    """Well-formed, but not what the contract allows; `errors` names each place (RFC 6901)."""

    code = "validation_error"

    def __init__(self, detail: str, *errors: tuple[str, str], **extra: object) -> None:
        listed = [{"pointer": pointer, "message": message} for pointer, message in errors]
        super().__init__(detail, **{"errors": listed, **extra})


class NotFound(RequestError):
    """No such URL."""

    code = "not_found"


class MethodNotAllowed(RequestError):
    """The URL exists, the method does not."""

    code = "method_not_allowed"


class PayloadTooLarge(RequestError):
    """A body over the limit."""

    code = "payload_too_large"


class UnsupportedMediaType(RequestError):
    """A body of another type than the endpoint takes, or one that is `compressed`."""

    code = "unsupported_media_type"

    def __init__(self, detail: str, *, compressed: bool = False, **extra: object) -> None:
        super().__init__(detail, **extra)
        self.compressed = compressed


class IdempotencyKeyReused(RequestError):
    """The key came with another request before."""

    code = "idempotency_key_reused"


class RateLimited(RequestError):
    """More requests than are served; `retry_after` is in seconds."""

    code = "rate_limited"

    def __init__(self, detail: str, *, retry_after: int = 1, **extra: object) -> None:
        super().__init__(detail, **extra)
        self.retry_after = retry_after


class ResourceNotFound(VmapiError):
    """Something that the request names does not exist."""


class VMNotFound(ResourceNotFound):
    """There is no such VM; one that is `hidden` may be there, and is not shown to vmapi."""

    code = "vm_not_found"

    def __init__(self, detail: str, *, hidden: bool = False, **extra: object) -> None:
        super().__init__(detail, **extra)
        self.hidden = hidden


class OperationNotFound(ResourceNotFound):
    """No operation has this id."""

    code = "operation_not_found"


class FlavorNotFound(ResourceNotFound):
    """The cloud has no such flavor."""

    code = "flavor_not_found"
    pointer = "/flavor"


class ImageNotFound(ResourceNotFound):
    """The cloud has no such image, or it is not active."""

    code = "image_not_found"
    pointer = "/image"


class NetworkNotFound(ResourceNotFound):
    """The cloud has no such network."""

    code = "network_not_found"
    pointer = "/network"


class KeyNotFound(ResourceNotFound):
    """The cloud has no such key pair."""

    code = "key_not_found"
    pointer = "/key_name"


class SecurityGroupNotFound(ResourceNotFound):
    """The cloud has no such security group."""

    code = "security_group_not_found"
    pointer = "/security_groups"


class AmbiguousName(VmapiError):
    """A name that fits several things: the id is wanted."""


class ImageAmbiguous(AmbiguousName):
    """Several images have this name."""

    code = "image_ambiguous"
    pointer = "/image"


class NetworkAmbiguous(AmbiguousName):
    """Several networks have this name, or none was named and there are several."""

    code = "network_ambiguous"
    pointer = "/network"


class Conflict(VmapiError):
    """What is asked for does not go with how things stand."""


class InvalidState(Conflict):
    """The VM's state does not allow this."""

    code = "invalid_state"


class TaskInProgress(Conflict):
    """Something else is under way with the VM."""

    code = "task_in_progress"


class VMLocked(Conflict):
    """The VM is locked in the cloud."""

    code = "vm_locked"


class NameTaken(Conflict):
    """Another live VM has this name."""

    code = "name_taken"


class IdempotencyInProgress(Conflict):
    """The first request with this key is still being answered; `retry_after` is in seconds."""

    code = "idempotency_in_progress"
    retry_after = 2


class Unauthenticated(VmapiError):
    """The caller has not authenticated; `credentials_sent` says whether it tried to."""

    code = "unauthenticated"

    def __init__(self, detail: str, *, credentials_sent: bool = False, **extra: object) -> None:
        super().__init__(detail, **extra)
        self.credentials_sent = credentials_sent


class PreconditionFailed(VmapiError):
    """The VM is not one that the client has seen; `etag` is the tag that it has now."""

    code = "precondition_failed"


class Forbidden(VmapiError):
    """The caller's role does not reach, or the cloud's policy does not permit this."""

    code = "forbidden"


class QuotaExceeded(Forbidden):
    """The project's quota, or the cloud's, is used up."""

    code = "quota_exceeded"


class BackendFailure(VmapiError):
    """The cloud failed, at once or later."""


class BackendError(BackendFailure):
    """The cloud answered with an error of its own, or with something that is no answer."""

    code = "backend_error"


class BackendUnavailable(BackendFailure):
    """The cloud cannot be reached. Nothing was sent; `retry_after` is in seconds."""

    code = "backend_unavailable"
    backend_unresponsive = True

    def __init__(self, detail: str, *, retry_after: int = 5, **extra: object) -> None:
        super().__init__(detail, **extra)
        self.retry_after = retry_after


class BackendTimeout(BackendFailure):
    """The cloud did not answer in time: whether it did what it was asked is not known."""

    code = "backend_timeout"
    backend_unresponsive = True


class NoCapacity(BackendFailure):
    """No host had room for the VM."""

    code = "no_capacity"


class BuildFailed(BackendFailure):
    """A host took the VM and could not build it."""

    code = "build_failed"


class OperationTimeout(BackendFailure):
    """The operation did not end before its deadline."""

    code = "operation_timeout"


class BackendLost(BackendFailure):
    """The VM vanished while an operation was under way."""

    code = "backend_lost"


class StoreUnavailable(VmapiError):
    """vmapi's own database does not answer; `retry_after` is in seconds."""

    code = "store_unavailable"
    retry_after = 5


class IssuerUnavailable(VmapiError):
    """What vouches for tokens does not answer; `retry_after` is in seconds."""

    code = "issuer_unavailable"
    retry_after = 5


class InternalError(VmapiError):
    """A defect of vmapi."""

    code = "internal_error"


class SettingsError(VmapiError):
    """A setting that is unknown or has a bad value: the app does not start."""

    code = "settings_error"


def error_class(code: str) -> type[VmapiError]:
    """Return the error that has a code; BackendError for one that nothing here has."""
    found: list[type[VmapiError]] = [VmapiError]
    for cls in found:
        if getattr(cls, "code", None) == code:
            return cls
        found.extend(cls.__subclasses__())
    return BackendError
