"""Idempotency key tests: a key is bound to one operation for a day."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.fake_clock import Clock
from tests.support.operation_factory import IDEMPOTENCY_KEY, OperationFactory
from vmapi.domain.access.caller import IDEMPOTENCY_KEY_TTL
from vmapi.domain.operation import OperationQuery, OperationStatus
from vmapi.domain.pagination import PageRequest
from vmapi.store.conflicts import IdempotencyKeyConflict
from vmapi.store.operations.repository import OperationRepository


def test_key_is_bound_to_its_operation(store: OperationRepository, make: OperationFactory) -> None:
    assert store.find_by_key(IDEMPOTENCY_KEY) is None
    store.add(make("1", key=IDEMPOTENCY_KEY))
    with pytest.raises(IdempotencyKeyConflict):
        store.add(make("2", vm_id="other", key=IDEMPOTENCY_KEY))
    with pytest.raises(IdempotencyKeyConflict):
        store.add(make("3", vm_id="other", key=replace(IDEMPOTENCY_KEY, fingerprint="0" * 64)))
    # the conflict of the key precedes that of the VM
    with pytest.raises(IdempotencyKeyConflict):
        store.add(make("4", key=IDEMPOTENCY_KEY))
    store.save(make.finished(store.get("1")))
    bound = store.find_by_key(replace(IDEMPOTENCY_KEY, fingerprint="0" * 64))
    assert bound is not None
    assert (bound.id, bound.key) == ("1", IDEMPOTENCY_KEY)
    with pytest.raises(IdempotencyKeyConflict):
        store.add(make("5", key=IDEMPOTENCY_KEY))


def test_key_belongs_to_its_caller_and_project(
    store: OperationRepository, make: OperationFactory
) -> None:
    other = replace(IDEMPOTENCY_KEY, caller="you")
    store.add(make("1", key=IDEMPOTENCY_KEY))
    store.add(make("2", vm_id="other", key=other))
    store.add(make("3", vm_id="third", key=replace(IDEMPOTENCY_KEY, value="K-1")))
    assert [
        operation and operation.id for operation in map(store.find_by_key, (IDEMPOTENCY_KEY, other))
    ] == [
        "1",
        "2",
    ]


def test_released_key_can_be_bound_again(
    store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1", key=IDEMPOTENCY_KEY))
    store.save(make.finished(store.get("1"), status=OperationStatus.FAILED, key=None))
    assert store.find_by_key(IDEMPOTENCY_KEY) is None
    store.add(make("2", key=IDEMPOTENCY_KEY))
    bound = store.find_by_key(IDEMPOTENCY_KEY)
    assert bound is not None
    assert bound.id == "2"


def test_key_expires_after_a_day(
    store: OperationRepository, make: OperationFactory, clock: Clock
) -> None:
    store.add(make("1", key=IDEMPOTENCY_KEY))
    store.save(make.finished(store.get("1")))
    clock.now += IDEMPOTENCY_KEY_TTL - timedelta(microseconds=1)
    assert store.find_by_key(IDEMPOTENCY_KEY) is not None
    with pytest.raises(IdempotencyKeyConflict):
        store.add(make("2", key=IDEMPOTENCY_KEY))
    clock.now += timedelta(microseconds=1)
    assert store.find_by_key(IDEMPOTENCY_KEY) is None
    store.add(make("3", key=IDEMPOTENCY_KEY))
    bound = store.find_by_key(IDEMPOTENCY_KEY)
    assert bound is not None
    assert bound.id == "3"
    assert store.get("1").status is OperationStatus.SUCCEEDED
    assert [
        operation.id
        for operation in store.list_page(OperationQuery(key=IDEMPOTENCY_KEY), PageRequest()).items
    ] == ["3"]
