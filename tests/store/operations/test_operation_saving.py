"""Saving tests: stored fields, revisions and secrets of operations."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.support.factories import VM_1
from tests.support.fake_clock import Clock
from tests.support.operation_factory import ALL_OPERATIONS, IDEMPOTENCY_KEY, OperationFactory
from vmapi.domain.lifecycle import Action, Verb
from vmapi.domain.operation import NewOperation, OperationError, OperationStatus, Step, StepState
from vmapi.domain.pagination import PageRequest
from vmapi.domain.vm import CreateSpec, VMPatch
from vmapi.errors import NameTaken
from vmapi.store.conflicts import OperationRevisionConflict
from vmapi.store.database import Database
from vmapi.store.operations.repository import OperationRepository


def test_save_moves_the_revision_and_refuses_older_ones(
    store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1"))
    first = store.get("1")
    saved = store.save(replace(first, vm_id="a")).operation
    assert saved == replace(first, vm_id="a", revision=1) == store.get("1")
    with pytest.raises(OperationRevisionConflict):
        store.save(replace(first, vm_id="b"))
    over = store.save(make.finished(saved)).operation
    assert store.get("1") == over
    with pytest.raises(OperationRevisionConflict):
        store.save(over)
    with pytest.raises(OperationRevisionConflict):
        store.save(make("never added"))


def test_delegated_flag_is_stored(store: OperationRepository, make: OperationFactory) -> None:
    store.add(make("1", vm_id="a", is_delegated=True))
    store.add(make("2", vm_id="b"))
    assert [(operation.id, operation.is_delegated) for operation in store.list_leased()] == [
        ("1", True),
        ("2", False),
    ]
    store.save(store.get("1").as_dispatching(make("3").created_at))
    assert store.get("1").is_delegated is True


def test_stored_operation_equals_the_saved_one(
    store: OperationRepository, make: OperationFactory, clock: Clock
) -> None:
    clock.now += timedelta(microseconds=1)
    plan = (Step(Verb.RESUME), Step(Verb.STOP))
    changes = VMPatch(name="b", metadata={"a": None, "ü": "\u2028"})
    store.add(make("1", steps=plan, patch=changes, key=IDEMPOTENCY_KEY, name="b"))
    assert store.get("1").created_at.microsecond == 1
    begun = clock() + timedelta(microseconds=999_998)
    sent = Step(Verb.RESUME, StepState.ACCEPTED, "req-é", begun)
    running = replace(store.get("1"), status=OperationStatus.RUNNING, started_at=begun).with_step(
        sent
    )
    assert store.get("1") != store.save(running).operation == store.get("1")
    assert store.get("1").steps == (sent, Step(Verb.STOP))
    failure = OperationError("no_capacity", "Full.", {"hint": "Wait.", "vm_id": None})
    failed = make.finished(store.get("1"), status=OperationStatus.FAILED, error=failure)
    store.save(failed)
    assert store.get("1") == replace(failed, revision=2)
    assert store.get("1").created_at.tzinfo is not None


def test_empty_patch_is_stored_as_a_patch(
    store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1", Action.UPDATE, patch=VMPatch()))
    assert store.get("1").patch == VMPatch()


def test_other_process_sees_the_saved_operation(
    store: OperationRepository, other: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1"))
    saved = store.save(make.finished(store.get("1"))).operation
    assert other.get("1") == saved


def test_discard_leaves_no_row_name_or_key(
    store: OperationRepository, make: OperationFactory
) -> None:
    operation = make("1", Action.CREATE, None, "web", key=IDEMPOTENCY_KEY)
    store.add(operation)
    store.discard(operation, NameTaken("taken"))
    store.discard(operation, NameTaken("taken"))
    assert (store.list_page(ALL_OPERATIONS, PageRequest()).items, store.list_leased()) == ([], [])
    assert store.find_by_key(IDEMPOTENCY_KEY) is None
    store.add(make("2", Action.CREATE, None, "web", key=IDEMPOTENCY_KEY))


def test_spec_of_a_create_is_not_stored(
    store: OperationRepository, make: OperationFactory, database: Database
) -> None:
    spec = CreateSpec("web", "f", "i", None, {}, b"hunter2", None, ())
    new = NewOperation(make("1", Action.CREATE, None, "web"), VM_1, spec)
    store.add(new.operation)
    store.save(store.get("1"))
    with database.read() as connection:
        rows = connection.execute(text("SELECT * FROM operations")).all()
    assert "hunter2" not in str(rows)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_user_data_is_in_no_file_of_the_database(
    store: OperationRepository, make: OperationFactory, url: str
) -> None:
    spec = CreateSpec("web", "f", "i", None, {"k": "hunter2"}, b"hunter2", None, ())
    new = NewOperation(make("1", Action.CREATE, None, "web-of-files"), VM_1, spec)
    store.add(new.operation)
    folder = Path(url.removeprefix("sqlite:///")).parent
    files = [path.read_bytes() for path in folder.iterdir()]
    assert any(b"web-of-files" in data for data in files)
    assert not any(b"hunter2" in data for data in files)
