"""The schedule of polls: when each one starts, how far it reaches back, and the sync mark."""

from datetime import UTC, datetime, timedelta

from vmapi.services.inventory.poll_schedule import (
    LOOKBACK,
    LOOKBACK_INTERVAL,
    MAX_CONCURRENT_POLLS,
    OVERLAPPED_POLL_INTERVAL,
    POLL_INTERVAL,
    SYNC_BACKOFF,
    SYNC_OVERLAP,
    PollSchedule,
    PollWindow,
)

NOON = datetime(2026, 2, 25, 12, tzinfo=UTC)


class ScheduleHarness:
    """A schedule with a fake clock. The cloud's clock shows noon at the start.

    Polls start at 1, 2, 3, … on the database's clock.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.schedule = PollSchedule(lambda: self.now)
        self.started = 0

    def is_due_after(self, seconds: float) -> bool:
        self.now += seconds
        return self.schedule.is_due()

    def begin(self) -> PollWindow:
        self.started += 1
        cloud_time = NOON + timedelta(seconds=self.now - 1000)
        return self.schedule.begin(NOON, cloud_time, self.started)


def test_polls_of_a_fast_cloud_start_one_interval_apart() -> None:
    harness = ScheduleHarness()
    assert harness.is_due_after(0)
    first = harness.begin()
    assert first.since == NOON - LOOKBACK
    assert harness.schedule.end(first) == 1
    assert not harness.is_due_after(POLL_INTERVAL - 0.1)
    assert harness.is_due_after(0.1)
    second = harness.begin()
    assert second.since == NOON - SYNC_OVERLAP
    assert harness.schedule.end(second) == 2


def test_polls_of_a_slow_cloud_overlap_up_to_a_limit() -> None:
    harness = ScheduleHarness()
    harness.is_due_after(0)
    windows = [harness.begin()]
    assert harness.is_due_after(POLL_INTERVAL)
    while len(windows) < MAX_CONCURRENT_POLLS:
        windows.append(harness.begin())
        assert not harness.is_due_after(OVERLAPPED_POLL_INTERVAL - 0.1)
        assert harness.is_due_after(0.1) == (len(windows) < MAX_CONCURRENT_POLLS)
    assert not harness.is_due_after(10)
    # the sync mark does not pass an earlier poll that is in progress
    assert harness.schedule.end(windows[1]) is None
    # but the poll has freed its place
    assert harness.is_due_after(0)
    windows.append(harness.begin())
    assert [harness.schedule.end(windows[index]) for index in (0, 2, 3)] == [2, 3, 4]


def test_lookback_poll_delays_no_other_poll() -> None:
    harness = ScheduleHarness()
    harness.is_due_after(0)
    harness.schedule.end(harness.begin())
    assert harness.is_due_after(LOOKBACK_INTERVAL)
    lookback = harness.begin()
    assert lookback.since == NOON - LOOKBACK
    assert harness.is_due_after(0)
    window = harness.begin()
    # the window of the next poll is the same as without the lookback poll
    assert window.since == NOON - SYNC_OVERLAP
    assert harness.schedule.end(window) == 3
    assert harness.schedule.end(lookback) is None


def test_poll_after_a_failure_covers_the_failed_window() -> None:
    harness = ScheduleHarness()
    harness.is_due_after(0)
    assert harness.schedule.end(harness.begin()) == 1
    harness.is_due_after(POLL_INTERVAL)
    failed, later = harness.begin(), harness.begin()
    harness.schedule.fail(failed)
    # the later poll does not cover the window of the failed one
    assert harness.schedule.end(later) is None
    assert not harness.is_due_after(SYNC_BACKOFF - 0.1)
    assert harness.is_due_after(0.1)
    retry = harness.begin()
    assert retry.since == failed.since - SYNC_OVERLAP
    assert harness.schedule.end(retry) == 4
    harness.is_due_after(LOOKBACK_INTERVAL)
    lookback = harness.begin()
    since = NOON + timedelta(seconds=harness.now - 1000 - LOOKBACK_INTERVAL)
    harness.schedule.fail(lookback)
    assert harness.is_due_after(SYNC_BACKOFF)
    assert harness.begin().since == since - SYNC_OVERLAP


def test_slow_cloud_gets_no_lookback_poll() -> None:
    harness = ScheduleHarness()
    harness.is_due_after(0)
    harness.schedule.end(harness.begin())
    harness.is_due_after(LOOKBACK_INTERVAL - POLL_INTERVAL)
    slow = harness.begin()
    assert harness.is_due_after(POLL_INTERVAL)
    assert not harness.begin().is_lookback
    harness.schedule.end(slow)
