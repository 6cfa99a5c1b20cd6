"""Idempotency keys: bound to an operation for a day."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.fake_clock import Clock
from tests.support.operation_factory import KEY, Maker
from vmapi.domain.operation import OperationQuery, OperationStatus
from vmapi.domain.pagination import PageRequest
from vmapi.store.conflicts import IdempotencyKeyConflict
from vmapi.store.operations.repository import OperationRepository
from vmapi.store.operations.transitions import IDEMPOTENCY_KEY_TTL


def test_a_key_is_bound_while_its_operation_is_kept(
    store: OperationRepository, make: Maker
) -> None:
    assert store.find_by_key(KEY) is None
    store.add(make("1", key=KEY))
    with pytest.raises(IdempotencyKeyConflict):
        store.add(make("2", vm_id="other", key=KEY))
    with pytest.raises(IdempotencyKeyConflict):
        store.add(make("3", vm_id="other", key=replace(KEY, fingerprint="0" * 64)))
    # whose key it is comes before what its VM is busy with
    with pytest.raises(IdempotencyKeyConflict):
        store.add(make("4", key=KEY))
    store.save(make.over(store.get("1")))
    bound = store.find_by_key(replace(KEY, fingerprint="0" * 64))
    assert bound is not None
    assert (bound.id, bound.key) == ("1", KEY)
    with pytest.raises(IdempotencyKeyConflict):
        store.add(make("5", key=KEY))


def test_a_key_is_its_callers_own(store: OperationRepository, make: Maker) -> None:
    other = replace(KEY, caller="you")
    store.add(make("1", key=KEY))
    store.add(make("2", vm_id="other", key=other))
    store.add(make("3", vm_id="third", key=replace(KEY, value="K-1")))
    assert [each and each.id for each in map(store.find_by_key, (KEY, other))] == ["1", "2"]


def test_a_key_that_is_freed_may_be_bound_again(store: OperationRepository, make: Maker) -> None:
    store.add(make("1", key=KEY))
    store.save(make.over(store.get("1"), status=OperationStatus.FAILED, key=None))
    assert store.find_by_key(KEY) is None
    store.add(make("2", key=KEY))
    bound = store.find_by_key(KEY)
    assert bound is not None
    assert bound.id == "2"


def test_a_key_lives_for_a_day(store: OperationRepository, make: Maker, clock: Clock) -> None:
    store.add(make("1", key=KEY))
    store.save(make.over(store.get("1")))
    clock.now += IDEMPOTENCY_KEY_TTL - timedelta(microseconds=1)
    assert store.find_by_key(KEY) is not None
    with pytest.raises(IdempotencyKeyConflict):
        store.add(make("2", key=KEY))
    clock.now += timedelta(microseconds=1)
    assert store.find_by_key(KEY) is None
    store.add(make("3", key=KEY))
    bound = store.find_by_key(KEY)
    assert bound is not None
    assert bound.id == "3"
    assert store.get("1").status is OperationStatus.SUCCEEDED
    assert [
        found.id for found in store.list_page(OperationQuery(key=KEY), PageRequest()).items
    ] == ["3"]
