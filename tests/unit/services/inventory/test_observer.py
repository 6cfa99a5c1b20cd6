"""Looking at the cloud: what is seen is kept, together, and not for longer than needed."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.support.blocking_source import GUARD_TIMEOUT, wait_until
from tests.support.reconciler_harness import ReconcilerHarness
from vmapi.domain.lifecycle import Verb
from vmapi.domain.pagination import PageRequest
from vmapi.domain.vm import VM, VMQuery
from vmapi.errors import BackendError, BackendTimeout, BackendUnavailable, VMNotFound

AWAY = BackendUnavailable("away")


def known(desk: ReconcilerHarness) -> int:
    return desk.store.inventory.list_page(VMQuery(), PageRequest(), desk.clock()).page.total


def listing(
    desk: ReconcilerHarness, monkeypatch: pytest.MonkeyPatch, *answers: object
) -> list[int]:
    """Let lists be answered so; return who asks."""
    told, asked = list(answers), [0]

    def vms(*, name: str | None = None) -> tuple[VM, ...]:
        asked[0] += 1
        answer = told.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, tuple)
        return answer

    monkeypatch.setattr(desk.backend, "list_vms", vms)
    return asked


def test_what_a_list_leaves_out_is_asked_for_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = ReconcilerHarness.build()
    desk.running_vm()
    desk.observer.full_sync()
    listing(desk, monkeypatch, ())
    desk.observer.full_sync()
    assert known(desk) == 1


def test_what_is_not_there_any_more_is_gone() -> None:
    desk = ReconcilerHarness.build()
    vm_id = desk.running_vm()
    desk.observer.full_sync()
    desk.backend.perform_action(vm_id, Verb.DELETE)
    desk.clock.sleep(1)
    desk.observer.full_sync()
    assert known(desk) == 0


def test_a_sweep_that_breaks_off_deletes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = ReconcilerHarness.build()
    desk.running_vm()
    desk.observer.full_sync()
    listing(desk, monkeypatch, AWAY, ())
    with pytest.raises(BackendUnavailable):
        desk.observer.full_sync()
    desk.backend.fail("get", AWAY)
    with pytest.raises(BackendUnavailable):
        desk.observer.full_sync()
    assert known(desk) == 1


def test_one_that_cannot_be_read_stops_no_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = ReconcilerHarness.build()
    desk.running_vm()
    listing(desk, monkeypatch, ())
    desk.backend.fail("get", BackendError("its cell is down"))
    desk.observer.full_sync()
    assert known(desk) == 1
    assert (
        desk.store.inventory.list_page(VMQuery(), PageRequest(), desk.clock()).age_seconds
        is not None
    )


def test_a_look_at_one_that_is_gone() -> None:
    desk = ReconcilerHarness.build()
    vm_id = desk.running_vm()
    desk.backend.fail("get", VMNotFound("gone"))
    with pytest.raises(VMNotFound):
        desk.observer.fetch(vm_id)
    assert known(desk) == 0


def test_what_the_cloud_hides_is_not_gone() -> None:
    desk = ReconcilerHarness.build()
    vm_id = desk.running_vm()
    desk.backend.fail("get", VMNotFound("hidden", hidden=True))
    with pytest.raises(VMNotFound):
        desk.observer.fetch(vm_id)
    assert known(desk) == 1


def test_what_is_known_better_is_not_handed_on() -> None:
    desk = ReconcilerHarness.build()
    vm_id = desk.running_vm()
    vm = desk.observer.fetch(vm_id)
    newer = replace(vm, updated_at=desk.clock.now.replace(year=2999))
    changed, inventory = desk.backend.list_changed_since, desk.store.inventory

    def overtaken(since: object) -> object:
        inventory.save_observations([newer], inventory.observation_time() + 1_000_000)
        return changed(vm.created_at)

    desk.backend.list_changed_since = overtaken  # type: ignore[assignment,method-assign]
    assert desk.observer.fetch_changed(vm.created_at) == []


def test_many_who_ask_at_once_cause_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = ReconcilerHarness.build()
    asked, go = [0], threading.Event()

    def vms(*, name: str | None = None) -> tuple[VM, ...]:
        asked[0] += 1
        assert go.wait(GUARD_TIMEOUT)
        return ()

    monkeypatch.setattr(desk.backend, "list_vms", vms)
    came: list[int] = []
    begin = desk.store.inventory.observation_time
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(desk.observer.full_sync)
        wait_until(lambda: asked == [1])
        monkeypatch.setattr(
            desk.store.inventory, "observation_time", lambda: came.append(1) or begin()
        )
        rest = [pool.submit(desk.observer.full_sync) for _ in range(7)]
        wait_until(lambda: len(came) == 7)
        threading.Event().wait(0.01)
        go.set()
        for each in (first, *rest):
            each.result(GUARD_TIMEOUT)
    # the first began before the others asked: one more is for all of them
    assert asked == [2]


def test_who_waited_for_a_look_that_failed_waits_for_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = ReconcilerHarness.build()
    asked, go = [0], threading.Event()

    def vms(*, name: str | None = None) -> tuple[VM, ...]:
        asked[0] += 1
        assert go.wait(GUARD_TIMEOUT)
        raise AWAY

    monkeypatch.setattr(desk.backend, "list_vms", vms)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(desk.observer.full_sync)
        wait_until(lambda: asked == [1])
        with pytest.raises(BackendTimeout):
            desk.observer.full_sync(0.01)
        came: list[int] = []
        begin = desk.store.inventory.observation_time
        monkeypatch.setattr(
            desk.store.inventory, "observation_time", lambda: came.append(1) or begin()
        )
        second = pool.submit(desk.observer.full_sync)
        wait_until(lambda: came == [1])
        threading.Event().wait(0.05)
        go.set()
        for each in (first, second):
            with pytest.raises(BackendUnavailable):
                each.result(GUARD_TIMEOUT)
    assert asked == [1]
