"""The errors of the client that have no problem document.

VmapiError
├── ConfigurationError      URL, token or context are missing or malformed
├── NotReachable            no response within the deadline
│   ├── ResponseTimeout     the server is connected, and sends no complete response
│   ├── HostNotFound        the name of the host does not resolve
│   └── CertificateRejected the certificate of the server is not trusted
├── NotVmapi                another program answered
├── ResponseTooLarge        a response has more bytes than the client reads
├── DeadlineExceeded        the change, or the awaited status, was not reached in time
├── VMFailed                the VM went into ERROR
└── ProblemError            vmapi refused the request, or the operation failed
"""

from typing import TYPE_CHECKING, Any, TypeVar

# the models take a quarter of the start of vmctl
if TYPE_CHECKING:
    from vmapi_client.models.vm import VM

E = TypeVar("E", bound="VmapiError")


class VmapiError(Exception):
    """The base class of all errors of the client.

    `idempotency_key` is the key of the change, or None for a read. A change without a final
    outcome may be sent again with that key: it is carried out once.
    """

    def __init__(
        self, message: str, *, idempotency_key: str | None = None, request_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.idempotency_key = idempotency_key
        self.request_id = request_id

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # a process pool sends errors to its parent
        return restore_error, (type(self), self.args, self.__dict__)


def restore_error(cls: type[E], arguments: tuple[Any, ...], members: dict[str, Any]) -> E:
    """Build an error from its pickle. The parameters of a constructor are not in it."""
    error = cls.__new__(cls, *arguments)
    error.__dict__.update(members)
    return error


class ConfigurationError(VmapiError):
    """URL, token, certificate file or context are missing or malformed."""


class NotReachable(VmapiError):
    """The server did not respond within the deadline, or cannot be reached at all."""


class ResponseTimeout(NotReachable):
    """The server accepted the connection, and sent no complete response within the deadline."""


class HostNotFound(NotReachable):
    """The name of the host does not resolve."""


class CertificateRejected(NotReachable):
    """The certificate of the server is not trusted, or the server does not use TLS."""


class NotVmapi(VmapiError):
    """The response is not one of vmapi: the URL is wrong, or a proxy answered."""

    def __init__(self, message: str, *, status: int | None = None, **options: str | None) -> None:
        super().__init__(message, **options)
        self.status = status


class ResponseTooLarge(VmapiError):
    """A response, or one event, has more bytes than `max_response_bytes` of the client."""


class DeadlineExceeded(VmapiError):
    """The change has not finished, or the VM has not reached the status, within the deadline.

    `vm` is the VM as it was last, if vmapi returned it.
    """

    def __init__(self, message: str, *, vm: "VM | None" = None, **options: str | None) -> None:
        super().__init__(message, **options)
        self.vm = vm


class VMFailed(VmapiError):
    """The VM went into ERROR while the caller waited for another status."""

    def __init__(self, message: str, *, vm: "VM", **options: str | None) -> None:
        super().__init__(message, **options)
        self.vm = vm
