"""A backend behind a circuit breaker: the services use it in place of the driver.

While the breaker is open, every method that sends a request raises BackendUnavailable. A method of
the contract is one line in the class, in one of two groups: a `_recorded` call moves the state of
the breaker, a `_checked` call only respects that state.

Each call occupies a slot of a bulkhead. So a cloud that hangs holds a share of the threads, before
the breaker opens and while single calls hang. Each list of the catalog has its own bulkhead: most
calls of a list read a cache, which a cloud that hangs must not block.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from functools import partial, wraps
from typing import Concatenate, ParamSpec, TypeVar

from vmapi.backends.base import Backend
from vmapi.backends.circuit_breaker import CircuitBreaker
from vmapi.concurrency.bulkhead import Bulkhead
from vmapi.errors import BackendUnavailable
from vmapi.settings.tls import TLSOptions
from vmapi.telemetry.metrics.catalog import BULKHEAD_REFUSALS

P = ParamSpec("P")
R = TypeVar("R")
BackendMethod = Callable[Concatenate[Backend, P], R]
BreakerMethod = Callable[Concatenate["CircuitBreakerBackend", P], R]

DEFAULT_REQUEST_SLOTS = 8
"""Requests that may wait for the cloud at the same time."""

BULKHEAD_RETRY_AFTER = 2
"""Seconds of `Retry-After` where too many requests wait for the cloud."""

SHARED_BULKHEAD = "the cloud"
OWN_BULKHEADS = {
    "list_flavors": "the cloud's list of flavors",
    "list_images": "the cloud's list of images",
    "list_networks": "the cloud's list of networks",
}
"""The subjects of the bulkheads by method; the other methods share one."""


def _recorded(method: BackendMethod[P, R]) -> BreakerMethod[P, R]:
    """Delegate a method to the driver, and record its response in the breaker."""

    @wraps(method, updated=())  # without the mark of an abstract method
    def delegate(self: "CircuitBreakerBackend", /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.limit_waiting(method.__name__), self.breaker.calling():
            result: R = getattr(self.driver, method.__name__)(*args, **kwargs)
        return result

    return delegate


def _checked(method: BackendMethod[P, R]) -> BreakerMethod[P, R]:
    """Delegate a method to the driver unless the breaker is open.

    The driver answers from its cache or asks another service: a success says nothing about Nova.
    """

    @wraps(method, updated=())  # without the mark of an abstract method
    def delegate(self: "CircuitBreakerBackend", /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.limit_waiting(method.__name__):
            self.breaker.raise_if_open()
            result: R = getattr(self.driver, method.__name__)(*args, **kwargs)
        return result

    return delegate


class CircuitBreakerBackend(Backend):
    """Delegates every call to a driver, through a circuit breaker.

    At most `request_slots` requests wait for the servers of the cloud at the same time, and a
    quarter as many for each list of its catalog.
    """

    def __init__(self, driver: Backend, request_slots: int = DEFAULT_REQUEST_SLOTS) -> None:
        self.driver = driver
        self._bulkheads = {
            subject: Bulkhead(max(1, request_slots // 4), partial(_refusal, subject))
            for subject in OWN_BULKHEADS.values()
        }
        shared = Bulkhead(request_slots, partial(_refusal, SHARED_BULKHEAD))
        self._bulkheads[SHARED_BULKHEAD] = shared
        self.breaker = CircuitBreaker(driver.ping)
        self.single_process = driver.single_process
        self.completes_immediately = driver.completes_immediately
        self.has_change_feed = driver.has_change_feed

    @property
    def is_suspect(self) -> bool:
        """Whether the cloud may be unreachable."""
        return self.breaker.is_suspect

    def check_available(self) -> None:
        """Raise BackendUnavailable while the breaker is open."""
        self.breaker.raise_if_open()

    def limit_waiting(self, method_name: str = "") -> AbstractContextManager[None]:
        """Return a context that occupies a slot of the cloud, or of a list of its catalog."""
        if not self.driver.may_wait:
            return nullcontext()
        return self._bulkheads[OWN_BULKHEADS.get(method_name, SHARED_BULKHEAD)].occupying()

    def close(self) -> None:
        """Stop the probes of the breaker and close the driver."""
        self.breaker.stop_probing()
        self.driver.close()

    def describe(self) -> dict[str, str]:
        """Describe the driver; this sends no request."""
        return self.driver.describe()

    def identity_tls(self, url: str) -> TLSOptions | None:
        """Return the TLS options for the Keystone at a URL; this sends no request."""
        return self.driver.identity_tls(url)

    def cloud_time(self) -> datetime:
        """Return the time on the cloud's clock; this sends no request."""
        return self.driver.cloud_time()

    list_flavors = _checked(Backend.list_flavors)
    list_images = _checked(Backend.list_images)
    get_image = _checked(Backend.get_image)
    list_networks = _checked(Backend.list_networks)
    check_create = _checked(Backend.check_create)
    list_changes_after = _checked(Backend.list_changes_after)
    ping = _recorded(Backend.ping)
    get_cloud_limits = _recorded(Backend.get_cloud_limits)
    get_vm = _recorded(Backend.get_vm)
    list_vms = _recorded(Backend.list_vms)
    list_changed_since = _recorded(Backend.list_changed_since)
    get_console = _recorded(Backend.get_console)
    create_vm = _recorded(Backend.create_vm)
    perform_action = _recorded(Backend.perform_action)
    update_vm = _recorded(Backend.update_vm)
    get_outcome = _recorded(Backend.get_outcome)
    find_created_vm = _recorded(Backend.find_created_vm)
    find_action = _recorded(Backend.find_action)


def _refusal(subject: str) -> BackendUnavailable:
    BULKHEAD_REFUSALS.increment("cloud")
    detail = f"Too many requests wait for {subject}, which does not respond. Nothing was sent."
    return BackendUnavailable(detail, retry_after=BULKHEAD_RETRY_AFTER)
