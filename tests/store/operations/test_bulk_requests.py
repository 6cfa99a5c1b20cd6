"""Bulk request tests: a key binds the VMs of its first request for a day."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from tests.support.fake_clock import Clock
from tests.support.operation_factory import IDEMPOTENCY_KEY
from vmapi.store.conflicts import IdempotencyKeyConflict
from vmapi.store.database import Database
from vmapi.store.operations.bulk_requests import BulkRequest, BulkRequestRepository
from vmapi.store.operations.transitions import IDEMPOTENCY_KEY_TTL
from vmapi.store.tables import bulk_requests


@pytest.fixture
def requests(database: Database, clock: Clock) -> BulkRequestRepository:
    return BulkRequestRepository(database, clock)


def test_key_is_bound_to_its_first_request(requests: BulkRequestRepository) -> None:
    assert requests.find_by_key(IDEMPOTENCY_KEY) is None
    requests.add(IDEMPOTENCY_KEY, ["b", "a"])
    other = replace(IDEMPOTENCY_KEY, fingerprint="0" * 64)
    for key in (IDEMPOTENCY_KEY, other):
        with pytest.raises(IdempotencyKeyConflict):
            requests.add(key, ["c"])
    assert requests.find_by_key(other) == BulkRequest(IDEMPOTENCY_KEY.fingerprint, ("b", "a"))


def test_bulk_request_may_have_no_vms(requests: BulkRequestRepository) -> None:
    requests.add(IDEMPOTENCY_KEY, [])
    assert requests.find_by_key(IDEMPOTENCY_KEY) == BulkRequest(IDEMPOTENCY_KEY.fingerprint, ())


@pytest.mark.parametrize("other", [{"caller": "you"}, {"project": "other"}, {"value": "K-1"}])
def test_key_belongs_to_its_caller_and_project(
    requests: BulkRequestRepository, other: dict[str, str]
) -> None:
    requests.add(IDEMPOTENCY_KEY, ["a"])
    assert requests.find_by_key(replace(IDEMPOTENCY_KEY, **other)) is None
    requests.add(replace(IDEMPOTENCY_KEY, **other), ["b"])
    assert requests.find_by_key(IDEMPOTENCY_KEY) == BulkRequest(IDEMPOTENCY_KEY.fingerprint, ("a",))


def test_key_expires_after_a_day(
    requests: BulkRequestRepository, database: Database, clock: Clock
) -> None:
    requests.add(IDEMPOTENCY_KEY, ["a"])
    requests.add(replace(IDEMPOTENCY_KEY, caller="you"), ["a"])
    clock.now += IDEMPOTENCY_KEY_TTL - timedelta(microseconds=1)
    with pytest.raises(IdempotencyKeyConflict):
        requests.add(IDEMPOTENCY_KEY, ["b"])
    clock.now += timedelta(microseconds=1)
    assert requests.find_by_key(IDEMPOTENCY_KEY) is None
    requests.add(IDEMPOTENCY_KEY, ["b"])
    assert requests.find_by_key(IDEMPOTENCY_KEY) == BulkRequest(IDEMPOTENCY_KEY.fingerprint, ("b",))
    with database.read() as connection:
        rows = connection.execute(select(func.count()).select_from(bulk_requests)).scalar()
    assert rows == 1
