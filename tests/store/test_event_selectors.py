"""Events by selector: the same from the memory and from the database, on both databases."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.factories import VM_1
from tests.support.selectors import Condition, metadata, selectors
from vmapi.domain.event import EventQuery
from vmapi.domain.selector import parse_selector
from vmapi.store import events
from vmapi.store.database import Database
from vmapi.store.events import EventLog
from vmapi.store.inventory.repository import InventoryRepository

ANY_NUMBER = 1000


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    drawn_metadata=st.lists(metadata, min_size=1, max_size=8),
    drawn_selectors=st.lists(selectors(), min_size=1, max_size=6),
)
def test_events_by_selector_equal_a_plain_evaluation(
    database: Database,
    drawn_metadata: Sequence[Mapping[str, str]],
    drawn_selectors: Sequence[tuple[str, Sequence[Condition]]],
) -> None:
    log, inventory = EventLog(database), InventoryRepository(database)
    start = log.assign_sequences()
    for number, pairs in enumerate(drawn_metadata):
        vm = replace(VM_1, id="changing", metadata=pairs, name=f"web-{start}-{number}")
        inventory.save_observations([vm], inventory.observation_time())
    end = log.assign_sequences()
    every_event = log.read_range(start, end, EventQuery(None), ANY_NUMBER)
    assert [event.vm and event.vm.metadata for event in every_event] == drawn_metadata
    for text, conditions in drawn_selectors:
        query = EventQuery(None, selector=parse_selector(text))
        expected = [
            event
            for event, pairs in zip(every_event, drawn_metadata, strict=True)
            if all(condition.evaluate(pairs) for condition in conditions)
        ]
        assert log.read_range(start, end, query, ANY_NUMBER) == expected
        assert [event for event in every_event if query.matches(event)] == expected


def test_events_of_operations_have_no_metadata_to_select(database: Database) -> None:
    log = EventLog(database)
    row = {"kind": "operation.succeeded", "project": "default", "vm_id": "vm", "payload": {}}
    with database.write() as connection:
        events.append(connection, row)
    query = EventQuery(None, selector=parse_selector("!env"))
    assert log.read_range(0, log.assign_sequences(), query, ANY_NUMBER) == []
