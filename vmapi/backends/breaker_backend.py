"""A backend behind a circuit breaker: the services use it in place of the driver.

While the breaker is open, every method that sends a request raises BackendUnavailable. A method of
the contract is one line in the class, in one of two groups: a `_recorded` call moves the state of
the breaker, a `_checked` call only respects that state.
"""

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from vmapi.backends.base import Backend
from vmapi.backends.circuit_breaker import CircuitBreaker

P = ParamSpec("P")
R = TypeVar("R")
BackendMethod = Callable[Concatenate[Backend, P], R]
BreakerMethod = Callable[Concatenate["CircuitBreakerBackend", P], R]


def _recorded(method: BackendMethod[P, R]) -> BreakerMethod[P, R]:
    """Delegate a method to the driver, and record its response in the breaker."""

    @wraps(method, updated=())  # without the mark of an abstract method
    def delegate(self: "CircuitBreakerBackend", /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.breaker.calling():
            result: R = getattr(self.driver, method.__name__)(*args, **kwargs)
        return result

    return delegate


def _checked(method: BackendMethod[P, R]) -> BreakerMethod[P, R]:
    """Delegate a method to the driver unless the breaker is open.

    The driver may answer from its cache, so that a success says nothing about the cloud.
    """

    @wraps(method, updated=())  # without the mark of an abstract method
    def delegate(self: "CircuitBreakerBackend", /, *args: P.args, **kwargs: P.kwargs) -> R:
        self.breaker.raise_if_open()
        result: R = getattr(self.driver, method.__name__)(*args, **kwargs)
        return result

    return delegate


class CircuitBreakerBackend(Backend):
    """Delegates every call to a driver, through a circuit breaker."""

    def __init__(self, driver: Backend) -> None:
        self.driver = driver
        self.breaker = CircuitBreaker(driver.ping)
        self.single_process = driver.single_process
        self.completes_immediately = driver.completes_immediately

    @property
    def is_suspect(self) -> bool:
        """Whether the cloud may be unreachable."""
        return self.breaker.is_suspect

    def check_available(self) -> None:
        """Raise BackendUnavailable while the breaker is open."""
        self.breaker.raise_if_open()

    def close(self) -> None:
        """Stop the probes of the breaker and close the driver."""
        self.breaker.stop_probing()
        self.driver.close()

    def describe(self) -> dict[str, str]:
        """Describe the driver; this sends no request."""
        return self.driver.describe()

    def cloud_time(self) -> datetime:
        """Return the time on the cloud's clock; this sends no request."""
        return self.driver.cloud_time()

    list_flavors = _checked(Backend.list_flavors)
    list_images = _checked(Backend.list_images)
    list_networks = _checked(Backend.list_networks)
    check_create = _checked(Backend.check_create)
    ping = _recorded(Backend.ping)
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
