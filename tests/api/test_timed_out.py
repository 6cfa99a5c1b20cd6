"""A create of which it could not be found out in time what it has made."""

import pytest
from werkzeug.test import TestResponse

from tests.api.test_freshness import grow_old, sync
from tests.world import WANTED, World
from vmapi.backends.base import Receipt
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.errors import BackendTimeout, BackendUnavailable

HOUR = 3600


def test_its_answer_names_the_vm_that_shows_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = MemoryBackend.create

    def lost(*given: object, **more: object) -> Receipt:
        real(*given, **more)  # type: ignore[arg-type]
        raise BackendTimeout("late")

    def away(*_: object) -> None:
        raise BackendUnavailable("away")

    def create() -> TestResponse:
        headers = {"Idempotency-Key": "k"}
        return world.call("POST", "/vms", headers=headers, json={**WANTED, "start": True})

    with monkeypatch.context() as patched:
        patched.setattr(MemoryBackend, "create", lost)
        patched.setattr(MemoryBackend, "find_created", away)
        first = create()
        world.wait(HOUR)
    path = first.json["operation"]
    failed = world.client.get(path).json
    assert (first.status_code, failed["status"], failed["vm_id"]) == (504, "failed", None)
    grow_old(world, 60)
    sync(world)
    (vm,) = world.get("/vms")["items"]
    named = {**failed, "vm_id": vm["id"]}
    assert world.client.get(path).json == named
    again = create()
    assert (again.status_code, again.json["code"]) == (504, "operation_timeout")
    assert (again.json["vm_id"], again.json["operation"]) == (vm["id"], path)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert world.get("/operations")["total"] == 1
