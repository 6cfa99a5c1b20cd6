"""An error class for each problem code."""

from vmapi_client.errors.problem import (
    AccessRefused,
    CloudFailed,
    Conflict,
    InvalidRequest,
    NotFound,
    ProblemError,
    ServerFailed,
    StateRefused,
    Unavailable,
)


class MalformedRequest(InvalidRequest):
    """The body is not valid JSON, or a header has an invalid value."""

    expected_code = "malformed_request"


class Unauthenticated(AccessRefused):
    """The token is missing, wrong, expired or revoked."""

    expected_code = "unauthenticated"


class Forbidden(AccessRefused):
    """The role of the caller is too low, or the policy of the cloud forbids the request."""

    expected_code = "forbidden"

    @property
    def role_needed(self) -> str | None:
        """The lowest role with the permission."""
        return self.problem.role_needed


class QuotaExceeded(AccessRefused):
    """The change would exceed the quota of the project or of the cloud."""

    expected_code = "quota_exceeded"


class VmNotFound(NotFound):
    """The VM was deleted, the id is wrong, or the VM belongs to another project."""

    expected_code = "vm_not_found"


class OperationNotFound(NotFound):
    """The id of the operation is wrong, or the operation is older than the retention time."""

    expected_code = "operation_not_found"


class UrlNotFound(NotFound):
    """No resource has this URL."""

    expected_code = "not_found"


class MethodNotAllowed(InvalidRequest):
    """The resource does not support this HTTP method."""

    expected_code = "method_not_allowed"


class InvalidState(StateRefused):
    """The action needs another status of the VM."""

    expected_code = "invalid_state"


class TaskInProgress(StateRefused):
    """The VM executes another operation."""

    expected_code = "task_in_progress"


class VmLocked(StateRefused):
    """A user of the cloud locked the VM."""

    expected_code = "vm_locked"


class NameTaken(Conflict):
    """Another VM of the project has this name: `vm_id`, or the VM that `operation` creates."""

    expected_code = "name_taken"


class BulkIncomplete(Conflict):
    """The action was refused for some of the VMs, or it failed for them."""

    expected_code = "bulk_incomplete"


class IdempotencyInProgress(Conflict):
    """vmapi has not answered the first request with this key yet."""

    expected_code = "idempotency_in_progress"


class PreconditionFailed(Conflict):
    """The VM has changed since it was read. Nothing was done."""

    expected_code = "precondition_failed"

    @property
    def etag(self) -> str | None:
        """The current entity tag of the VM."""
        return self.problem.etag


class PayloadTooLarge(InvalidRequest):
    """The request body is larger than 1 MiB."""

    expected_code = "payload_too_large"


class UnsupportedMediaType(InvalidRequest):
    """The body has the wrong content type, or it is compressed."""

    expected_code = "unsupported_media_type"


class ValidationError(InvalidRequest):
    """A field or parameter is missing, unknown or has an invalid value."""

    expected_code = "validation_error"


class FlavorNotFound(InvalidRequest):
    """The cloud has no flavor with this name or id."""

    expected_code = "flavor_not_found"


class ImageNotFound(InvalidRequest):
    """The cloud has no active image with this name or id."""

    expected_code = "image_not_found"


class ImageAmbiguous(InvalidRequest):
    """Several images have this name."""

    expected_code = "image_ambiguous"


class NetworkNotFound(InvalidRequest):
    """The cloud has no network with this name or id."""

    expected_code = "network_not_found"


class NetworkAmbiguous(InvalidRequest):
    """Several networks have this name, or the request names no network of several."""

    expected_code = "network_ambiguous"


class KeyNotFound(InvalidRequest):
    """The cloud has no key pair with this name."""

    expected_code = "key_not_found"


class SecurityGroupNotFound(InvalidRequest):
    """The cloud has no security group with this name."""

    expected_code = "security_group_not_found"


class SecurityGroupAmbiguous(InvalidRequest):
    """Several security groups of the project have this name."""

    expected_code = "security_group_ambiguous"


class IdempotencyKeyReused(InvalidRequest):
    """An earlier, different request used this idempotency key."""

    expected_code = "idempotency_key_reused"


class RateLimited(Unavailable):
    """The caller or its address exceeded a rate limit."""

    expected_code = "rate_limited"


class InternalError(ServerFailed):
    """vmapi has a defect."""

    expected_code = "internal_error"


class BackendError(CloudFailed):
    """The cloud rejected the request, or it failed to process the request."""

    expected_code = "backend_error"


class BuildFailed(CloudFailed):
    """A host accepted the VM and failed to build it."""

    expected_code = "build_failed"


class BackendLost(CloudFailed):
    """The VM disappeared during the operation."""

    expected_code = "backend_lost"


class BackendUnavailable(Unavailable):
    """vmapi cannot reach the cloud. Nothing was done."""

    expected_code = "backend_unavailable"


class StoreUnavailable(Unavailable):
    """vmapi cannot use its database."""

    expected_code = "store_unavailable"


class IssuerUnavailable(Unavailable):
    """vmapi cannot reach the issuer that validates the token."""

    expected_code = "issuer_unavailable"


class UnderMaintenance(Unavailable):
    """The operator closed the API for a time. Nothing was done."""

    expected_code = "under_maintenance"


class NoCapacity(CloudFailed):
    """The cloud found no host with room for the VM."""

    expected_code = "no_capacity"


class BackendTimeout(CloudFailed):
    """The cloud did not respond in time; the outcome of a change is unknown."""

    expected_code = "backend_timeout"


class OperationTimeout(CloudFailed):
    """The operation passed its deadline. The cloud may still complete it."""

    expected_code = "operation_timeout"


ERRORS_BY_CODE: dict[str, type[ProblemError]] = {
    error.expected_code: error
    for error in list(globals().values())
    if isinstance(error, type) and issubclass(error, ProblemError) and error.expected_code
}
"""The error class of each problem code that this version knows."""

ERRORS_BY_STATUS: dict[int, type[ProblemError]] = {
    401: AccessRefused,
    403: AccessRefused,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    429: Unavailable,
    503: Unavailable,
    502: CloudFailed,
    504: CloudFailed,
}
"""The error classes of codes that this version does not know."""


def error_class(code: str, status: int) -> type[ProblemError]:
    """Return the class of a problem code; for an unknown code, the class of the status."""
    by_status = InvalidRequest if status < 500 else ServerFailed
    return ERRORS_BY_CODE.get(code) or ERRORS_BY_STATUS.get(status, by_status)
