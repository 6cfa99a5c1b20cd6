"""What is done from time to time: the chain is closed, and what is too old is forgotten."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import text

from tests.support.audit_chain import SECRET, entry, positions, rows, write
from tests.support.maintenance_harness import DAY, House
from vmapi.domain.lifecycle import Action
from vmapi.errors import StoreUnavailable
from vmapi.services.maintenance import PURGE_INTERVAL
from vmapi.store import events
from vmapi.store.audit import repository as audit
from vmapi.store.leader_leases import LeaderLeases
from vmapi.store.operations import repository as operations


@pytest.fixture
def house() -> Iterator[House]:
    house = House()
    yield house
    house.store.close()


@pytest.fixture
def keyless() -> Iterator[House]:
    house = House(None)
    yield house
    house.store.close()


def test_it_closes_what_is_open(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "AUDIT_BATCH", 2)
    write(house.database, *(entry(house.clock(), number) for number in range(5)))
    assert house.tick() == []
    assert positions(house.database) == [1, 2, 3, 4, 5]
    write(house.database, entry(house.clock(), 6))
    house.tick()
    assert house.store.audit.verify(SECRET).head.position == 6


def test_it_takes_no_duty_for_nothing(house: House) -> None:
    house.tick()
    assert LeaderLeases(house.database).acquire("audit")


def test_it_leaves_it_to_whose_duty_it_is(house: House) -> None:
    other = house.other("audit")
    write(house.database, entry(house.clock(), 1))
    house.tick()
    assert positions(house.database) == [None]
    other.close()
    house.tick()
    assert positions(house.database) == [1]


def test_it_stops_when_it_loses_the_duty(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "AUDIT_BATCH", 1)
    write(house.database, *(entry(house.clock(), number) for number in range(3)))
    close = house.store.audit.chain_pending

    def slowly(key: str) -> int:
        closed = close(key)
        with house.database.write() as connection:
            connection.execute(
                text("UPDATE leader_leases SET owner = 'another' WHERE name = 'audit'")
            )
        return closed

    monkeypatch.setattr(house.store.audit, "chain_pending", slowly)
    house.tick()
    assert positions(house.database) == [1, None, None]


def test_without_a_key_nothing_is_chained(keyless: House) -> None:
    write(keyless.database, entry(keyless.clock(), 1))
    keyless.tick()
    assert positions(keyless.database) == [None]
    assert LeaderLeases(keyless.database).acquire("audit")


def test_operations_that_are_over_are_kept_for_long_enough(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "OPERATION_PURGE_BATCH", 2)
    house.store.operations.add(house.make("unfinished", Action.CREATE, None, "web"))
    for number in range(5):
        house.over(f"old-{number}")
    house.clock.sleep(0.000_001)
    house.over("young")
    house.clock.now += 30 * DAY
    logs = house.tick()
    assert house.kept() == {"unfinished", "young"}
    assert [(line["event"], line["operations"], line["audit_entries"]) for line in logs] == [
        ("forgot what was too old", 5, 0)
    ]


def test_a_name_is_its_vms_however_old_the_create_is(house: House) -> None:
    house.store.operations.add(house.make("old", Action.CREATE, None, "web"))
    made = house.store.operations.get("old")
    house.store.operations.save(house.make.over(made, vm_id="vm-1"))
    house.clock.now += 31 * DAY
    house.tick()
    assert house.kept() == set()
    with pytest.raises(Exception, match=r"^VM vm-1 has the name web already\.$"):
        house.store.operations.add(house.make("new", Action.CREATE, None, "web"))


def test_a_large_trail_is_forgotten_tick_by_tick(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "AUDIT_PURGE_BATCH", 2)
    write(house.database, *(entry(house.clock(), number) for number in range(5)))
    house.clock.now += 366 * DAY
    logs = [house.tick() for _ in range(4)]
    assert [[line["audit_entries"] for line in each] for each in logs] == [[2], [2], [1], []]
    # and then there is nothing to look for before the hour is over
    write(house.database, entry(house.clock() - 366 * DAY, 6))
    assert house.tick() == []


def test_it_looks_at_once_and_then_each_hour(house: House) -> None:
    house.over("1")
    house.clock.now += 31 * DAY
    house.tick()
    assert house.kept() == set()
    house.over("2")
    house.clock.now += 31 * DAY
    house.monotonic += PURGE_INTERVAL - 0.001
    assert house.tick() == []
    assert house.kept() == {"2"}
    house.monotonic += 0.001
    assert len(house.tick()) == 1
    assert house.kept() == set()
    house.monotonic += PURGE_INTERVAL
    assert house.tick() == []


def test_events_are_kept_for_a_day(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "SEQUENCE_BATCH", 2)
    for number in range(5):
        house.over(f"{number}")
    log = house.store.events
    log.assign_sequences()
    with house.database.write() as connection:
        day = {"day": DAY // timedelta(microseconds=1)}
        connection.execute(text("UPDATE events SET sequence = sequence - :day WHERE id <= 3"), day)
    # what nobody has listened to is numbered, and kept
    house.over("unheard")
    (line,) = house.tick()
    assert line["events"] == 3
    kept = [event.operation.id for event in log.read_after(0) if event.operation]
    assert kept == ["3", "4", "unheard"]


def test_it_leaves_forgetting_to_whose_duty_it_is(house: House) -> None:
    house.over("1")
    house.clock.now += 31 * DAY
    other = house.other("retention")
    assert house.tick() == []
    assert house.kept() == {"1"}
    other.close()
    house.monotonic += PURGE_INTERVAL
    house.tick()
    assert house.kept() == set()


def test_the_trail_is_kept_for_longer(house: House) -> None:
    house.over("1")
    house.clock.now += 365 * DAY
    house.tick()
    assert positions(house.database) == [1, 2]
    house.clock.sleep(0.000_001)
    house.monotonic += PURGE_INTERVAL
    (line,) = house.tick()
    assert (line["operations"], line["audit_entries"], line["log_level"]) == (0, 2, "info")
    verdict = house.store.audit.verify(SECRET)
    assert (rows(house.database), verdict.first_position, verdict.error) == ([], 3, None)


def test_without_a_key_the_trail_is_kept_as_long(keyless: House) -> None:
    write(keyless.database, entry(keyless.clock(), 1), entry(keyless.clock() + DAY, 2))
    keyless.clock.now += 366 * DAY - timedelta(microseconds=1)
    (line,) = keyless.tick()
    assert (line["operations"], line["audit_entries"]) == (0, 1)
    assert [row.operation_id for row in rows(keyless.database)] == ["op-2"]


def test_a_store_that_is_away_is_said_to_be(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> bool:
        raise StoreUnavailable("away")

    monkeypatch.setattr(house.store.audit, "has_pending", away)
    with pytest.raises(StoreUnavailable):
        house.keeper.run()
