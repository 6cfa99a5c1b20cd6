"""The cloud behind its breaker: nothing goes by it."""

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

RECEIPT = AcceptedAction("vm-1", "req-1")
SPEC = CreateSpec("web-1", "f", "i", None, {}, None, None, ())
CALLS: dict[str, Callable[[Backend], Any]] = {
    "ping": lambda cloud: cloud.ping(),
    "flavors": lambda cloud: cloud.list_flavors(),
    "images": lambda cloud: cloud.list_images(),
    "networks": lambda cloud: cloud.list_networks(),
    "get": lambda cloud: cloud.get_vm("vm-1"),
    "vms": lambda cloud: cloud.list_vms(),
    "changed": lambda cloud: cloud.list_changed_since(Clock()()),
    "console": lambda cloud: cloud.get_console("vm-1", None),
    "create": lambda cloud: cloud.create_vm(SPEC, "op-1"),
    "perform": lambda cloud: cloud.perform_action("vm-1", Verb.STOP),
    "update": lambda cloud: cloud.update_vm("vm-1", VMPatch(name="web-2")),
    "outcome": lambda cloud: cloud.get_outcome(RECEIPT),
    "find_created": lambda cloud: cloud.find_created_vm("op-1"),
    "find_performed": lambda cloud: cloud.find_action("vm-1", Verb.STOP, Clock()()),
}
SENDS_NOTHING = {"from_settings", "close", "describe", "now", "away", "ensure", "check_create"}
REMEMBERED = {"flavors", "images", "networks"}


def guarded() -> tuple[CircuitBreakerBackend, MemoryBackend]:
    driver = MemoryBackend(faults=parse_faults("unavailable=100%"))
    cloud = CircuitBreakerBackend(driver)
    cloud.breaker.stop_probing()
    return cloud, driver


def test_every_call_is_listed_here() -> None:
    public = {name for name, each in vars(Backend).items() if not name.startswith("_")}
    assert public - SENDS_NOTHING - {"single_process", "instant"} == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_what_fails_is_counted_and_then_refused(name: str) -> None:
    cloud, driver = guarded()
    for _ in range(FAILURE_THRESHOLD):
        with pytest.raises(BackendUnavailable):
            CALLS[name](cloud)
    # what drivers remember tells nothing of the cloud
    assert cloud.breaker.is_open is (name not in REMEMBERED)
    for _ in range(FAILURE_THRESHOLD):
        cloud.breaker.probe()
    driver.set_faults("")
    with pytest.raises(BackendUnavailable, match="Nothing was sent"):
        CALLS[name](cloud)


def test_it_is_as_its_driver_is() -> None:
    cloud, driver = guarded()
    assert (cloud.completes_immediately, cloud.single_process) == (True, True)
    assert cloud.describe() == driver.describe()


def test_where_nothing_may_be_created_is_the_drivers_to_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cloud, driver = guarded()

    def refuse(*_: object) -> None:
        raise Forbidden("not there")

    monkeypatch.setattr(driver, "check_create", refuse)
    with pytest.raises(Forbidden, match="not there"):
        cloud.check_create("p", None)
    for _ in range(FAILURE_THRESHOLD):
        cloud.breaker.probe()
    with pytest.raises(BackendUnavailable, match="Nothing was sent"):
        cloud.check_create("p", None)
