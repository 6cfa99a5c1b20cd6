"""Looks that overlap: when each is begun, and what is known once one is over."""

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


class Watch:
    """A course and its time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.course = PollSchedule(lambda: self.now)
        self.begun = 0

    def after(self, seconds: float) -> bool:
        self.now += seconds
        return self.course.is_due()

    def begin(self) -> PollWindow:
        self.begun += 1
        present = NOON + timedelta(seconds=self.now - 1000)
        return self.course.begin(NOON, present, self.begun)


def test_one_after_the_other_while_the_cloud_is_quick() -> None:
    watch = Watch()
    assert watch.after(0)
    first = watch.begin()
    assert first.since == NOON - LOOKBACK
    assert watch.course.end(first) == 1
    assert not watch.after(POLL_INTERVAL - 0.1)
    assert watch.after(0.1)
    second = watch.begin()
    assert second.since == NOON - SYNC_OVERLAP
    assert watch.course.end(second) == 2


def test_beside_each_other_while_it_is_slow_and_not_too_many() -> None:
    watch = Watch()
    watch.after(0)
    looks = [watch.begin()]
    assert watch.after(POLL_INTERVAL)
    while len(looks) < MAX_CONCURRENT_POLLS:
        looks.append(watch.begin())
        assert not watch.after(OVERLAPPED_POLL_INTERVAL - 0.1)
        assert watch.after(0.1) == (len(looks) < MAX_CONCURRENT_POLLS)
    assert not watch.after(10)
    # what came of a later one says nothing as long as an older one has no end
    assert watch.course.end(looks[1]) is None
    # but there is room for another
    assert watch.after(0)
    looks.append(watch.begin())
    assert [watch.course.end(looks[place]) for place in (0, 2, 3)] == [2, 3, 4]


def test_one_that_reaches_further_back_holds_up_nothing() -> None:
    watch = Watch()
    watch.after(0)
    watch.course.end(watch.begin())
    assert watch.after(LOOKBACK_INTERVAL)
    extra = watch.begin()
    assert extra.since == NOON - LOOKBACK
    assert watch.after(0)
    look = watch.begin()
    # as if the other one had not been
    assert look.since == NOON - SYNC_OVERLAP
    assert watch.course.end(look) == 3
    assert watch.course.end(extra) is None


def test_after_a_failure_it_goes_on_from_there() -> None:
    watch = Watch()
    watch.after(0)
    assert watch.course.end(watch.begin()) == 1
    watch.after(POLL_INTERVAL)
    failed, later = watch.begin(), watch.begin()
    watch.course.fail(failed)
    # what it has seen is not all there was
    assert watch.course.end(later) is None
    assert not watch.after(SYNC_BACKOFF - 0.1)
    assert watch.after(0.1)
    again = watch.begin()
    assert again.since == failed.since - SYNC_OVERLAP
    assert watch.course.end(again) == 4
    watch.after(LOOKBACK_INTERVAL)
    extra, since = watch.begin(), NOON + timedelta(seconds=watch.now - 1000 - LOOKBACK_INTERVAL)
    watch.course.fail(extra)
    assert watch.after(SYNC_BACKOFF)
    assert watch.begin().since == since - SYNC_OVERLAP


def test_a_cloud_that_is_slow_is_not_asked_for_more() -> None:
    watch = Watch()
    watch.after(0)
    watch.course.end(watch.begin())
    watch.after(LOOKBACK_INTERVAL - POLL_INTERVAL)
    slow = watch.begin()
    assert watch.after(POLL_INTERVAL)
    assert not watch.begin().is_lookback
    watch.course.end(slow)
