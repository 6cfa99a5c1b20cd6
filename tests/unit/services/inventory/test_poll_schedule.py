"""Looks that overlap: when each is begun, and what is known once one is over."""

from datetime import UTC, datetime, timedelta

from vmapi.services.inventory.poll_schedule import (
    AT_ONCE,
    GRACE,
    HASTE,
    PAUSE,
    PERIOD,
    SPAN,
    SPAN_EVERY,
    Course,
    Look,
)

NOON = datetime(2026, 2, 25, 12, tzinfo=UTC)


class Watch:
    """A course and its time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.course = Course(lambda: self.now)
        self.begun = 0

    def after(self, seconds: float) -> bool:
        self.now += seconds
        return self.course.is_due()

    def begin(self) -> Look:
        self.begun += 1
        present = NOON + timedelta(seconds=self.now - 1000)
        return self.course.begin(NOON, present, self.begun)


def test_one_after_the_other_while_the_cloud_is_quick() -> None:
    watch = Watch()
    assert watch.after(0)
    first = watch.begin()
    assert first.since == NOON - SPAN
    assert watch.course.end(first) == 1
    assert not watch.after(PERIOD - 0.1)
    assert watch.after(0.1)
    second = watch.begin()
    assert second.since == NOON - GRACE
    assert watch.course.end(second) == 2


def test_beside_each_other_while_it_is_slow_and_not_too_many() -> None:
    watch = Watch()
    watch.after(0)
    looks = [watch.begin()]
    assert watch.after(PERIOD)
    while len(looks) < AT_ONCE:
        looks.append(watch.begin())
        assert not watch.after(HASTE - 0.1)
        assert watch.after(0.1) == (len(looks) < AT_ONCE)
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
    assert watch.after(SPAN_EVERY)
    extra = watch.begin()
    assert extra.since == NOON - SPAN
    assert watch.after(0)
    look = watch.begin()
    # as if the other one had not been
    assert look.since == NOON - GRACE
    assert watch.course.end(look) == 3
    assert watch.course.end(extra) is None


def test_after_a_failure_it_goes_on_from_there() -> None:
    watch = Watch()
    watch.after(0)
    assert watch.course.end(watch.begin()) == 1
    watch.after(PERIOD)
    failed, later = watch.begin(), watch.begin()
    watch.course.fail(failed)
    # what it has seen is not all there was
    assert watch.course.end(later) is None
    assert not watch.after(PAUSE - 0.1)
    assert watch.after(0.1)
    again = watch.begin()
    assert again.since == failed.since - GRACE
    assert watch.course.end(again) == 4
    watch.after(SPAN_EVERY)
    extra, since = watch.begin(), NOON + timedelta(seconds=watch.now - 1000 - SPAN_EVERY)
    watch.course.fail(extra)
    assert watch.after(PAUSE)
    assert watch.begin().since == since - GRACE


def test_a_cloud_that_is_slow_is_not_asked_for_more() -> None:
    watch = Watch()
    watch.after(0)
    watch.course.end(watch.begin())
    watch.after(SPAN_EVERY - PERIOD)
    slow = watch.begin()
    assert watch.after(PERIOD)
    assert not watch.begin().extra
    watch.course.end(slow)
