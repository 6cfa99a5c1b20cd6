"""The backend behind a circuit breaker: no request goes around the breaker."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.fake_clock import Clock
from vmapi.backends.base import AcceptedAction, Backend
from vmapi.backends.breaker_backend import CircuitBreakerBackend
from vmapi.backends.circuit_breaker import FAILURE_THRESHOLD
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import CreateSpec, VMPatch
from vmapi.errors import BackendUnavailable, Forbidden
from vmapi.settings.memory import parse_faults

ACTION = AcceptedAction("vm-1", "req-1")
SPEC = CreateSpec("web-1", "f", "i", None, {}, None, None, ())
CALLS: dict[str, Callable[[Backend], Any]] = {
    "ping": lambda backend: backend.ping(),
    "list_flavors": lambda backend: backend.list_flavors(),
    "list_images": lambda backend: backend.list_images(),
    "get_image": lambda backend: backend.get_image("image-1"),
    "list_networks": lambda backend: backend.list_networks(),
    "get_cloud_limits": lambda backend: backend.get_cloud_limits("default"),
    "get_vm": lambda backend: backend.get_vm("vm-1"),
    "list_vms": lambda backend: backend.list_vms(),
    "list_changed_since": lambda backend: backend.list_changed_since(Clock()()),
    "list_changes_after": lambda backend: backend.list_changes_after(None),
    "get_console": lambda backend: backend.get_console("vm-1", None),
    "create_vm": lambda backend: backend.create_vm(SPEC, "op-1"),
    "perform_action": lambda backend: backend.perform_action("vm-1", Verb.STOP),
    "update_vm": lambda backend: backend.update_vm("vm-1", VMPatch(name="web-2")),
    "get_outcome": lambda backend: backend.get_outcome(ACTION),
    "find_created_vm": lambda backend: backend.find_created_vm("op-1"),
    "find_action": lambda backend: backend.find_action("vm-1", Verb.STOP, Clock()()),
}
SEND_NOTHING = {
    *("limit_waiting", "identity_tls"),
    *("close", "describe", "cloud_time", "is_suspect", "check_available", "check_create"),
    *("single_process", "completes_immediately", "has_change_feed", "may_wait"),
}
NOT_SENT_TO_NOVA = {
    *("list_flavors", "list_images", "get_image", "list_networks", "list_changes_after"),
}


def unavailable_backend() -> tuple[CircuitBreakerBackend, MemoryBackend]:
    driver = MemoryBackend(faults=parse_faults("unavailable=100%"))
    backend = CircuitBreakerBackend(driver)
    backend.breaker.stop_probing()
    return backend, driver


def test_calls_cover_the_backend_interface() -> None:
    public = {name for name in vars(Backend) if not name.startswith("_")}
    assert public - SEND_NOTHING == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_breaker_counts_failures_and_refuses_calls_when_open(name: str) -> None:
    backend, driver = unavailable_backend()
    for _ in range(FAILURE_THRESHOLD):
        with pytest.raises(BackendUnavailable):
            CALLS[name](backend)
    # a call that a cache may serve does not count
    assert backend.breaker.is_open is (name not in NOT_SENT_TO_NOVA)
    for _ in range(FAILURE_THRESHOLD):
        backend.breaker.probe()
    driver.set_faults("")
    with pytest.raises(BackendUnavailable, match="Nothing was sent"):
        CALLS[name](backend)


@pytest.mark.parametrize("name", CALLS)
def test_delegated_method_keeps_name_and_docstring(name: str) -> None:
    delegated, declared = getattr(CircuitBreakerBackend, name), getattr(Backend, name)
    assert (delegated.__name__, delegated.__doc__) == (name, declared.__doc__)


def test_backend_has_the_properties_of_its_driver() -> None:
    backend, driver = unavailable_backend()
    assert (backend.completes_immediately, backend.single_process) == (True, True)
    assert backend.describe() == driver.describe()


def test_check_create_is_delegated_unless_breaker_is_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend, driver = unavailable_backend()

    def refuse(*_: object) -> None:
        raise Forbidden("not there")

    monkeypatch.setattr(driver, "check_create", refuse)
    with pytest.raises(Forbidden, match="not there"):
        backend.check_create("p", None)
    for _ in range(FAILURE_THRESHOLD):
        backend.breaker.probe()
    with pytest.raises(BackendUnavailable, match="Nothing was sent"):
        backend.check_create("p", None)
