"""The cloud's clock: it follows the dates of responses, whatever happens to the local clock."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from vmapi.backends.openstack.connection.clock import CloudClock

SENT_AT = datetime(2020, 5, 1, 12, tzinfo=UTC)
"""Another time than that of the local clock."""


def test_time_passes_since_the_date_of_a_response() -> None:
    elapsed = 5.0
    clock = CloudClock(lambda: elapsed)
    clock.record_date(format_datetime(SENT_AT, usegmt=True))
    assert clock.now() == SENT_AT
    elapsed += 90.5
    assert clock.now() == SENT_AT + timedelta(seconds=90.5)


def test_response_with_the_least_delay_counts() -> None:
    elapsed = 5.0
    clock = CloudClock(lambda: elapsed)
    for seconds, delay in ((1, 0.2), (2, 0.9), (3, 0.4)):
        elapsed = seconds + delay
        clock.record_date(format_datetime(SENT_AT + timedelta(seconds=seconds), usegmt=True))
    elapsed = 10.0
    assert clock.now() == SENT_AT + timedelta(seconds=9.8)


@pytest.mark.parametrize("date", [None, "", "yesterday", "Mon, 01 Jan 0001 00:00:00 +2300"])
def test_malformed_date_does_not_count(date: str | None) -> None:
    clock = CloudClock(lambda: 0.0)
    clock.record_date(date)
    clock.record_date(format_datetime(SENT_AT, usegmt=True))
    assert clock.now() == SENT_AT
