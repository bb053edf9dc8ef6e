"""Sets of intervals against sets of minutes."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kanwa_scheduling.domain.interval import Interval, difference, intersection, union

DAY = datetime(2026, 3, 29, tzinfo=UTC)


def at(minute: int) -> datetime:
    return DAY + timedelta(minutes=minute)


intervals = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda pair: Interval(at(pair[0]), at(pair[1]))),
    max_size=8,
)


def minutes(found: list[Interval]) -> set[int]:
    return {
        minute
        for interval in found
        for minute in range(
            int((interval.start - DAY).total_seconds()) // 60, int((interval.end - DAY).total_seconds()) // 60
        )
    }


@given(intervals)
def test_a_union_is_sorted_apart_and_the_same_time(given_intervals: list[Interval]) -> None:
    merged = union(given_intervals)
    assert minutes(merged) == minutes(given_intervals)
    assert all(left.end < right.start for left, right in pairwise(merged))


@given(intervals, intervals)
def test_an_intersection_is_the_time_in_both(left: list[Interval], right: list[Interval]) -> None:
    common = intersection(union(left), union(right))
    assert minutes(common) == minutes(left) & minutes(right)
    assert common == union(common)


@given(intervals, intervals)
def test_a_difference_is_the_time_in_the_first_only(left: list[Interval], right: list[Interval]) -> None:
    rest = difference(union(left), union(right))
    assert minutes(rest) == minutes(left) - minutes(right)
    assert rest == union(rest)


def test_intervals_that_only_touch_do_not_overlap() -> None:
    assert not Interval(at(0), at(30)).overlaps(Interval(at(30), at(60)))
    assert Interval(at(0), at(31)).overlaps(Interval(at(30), at(60)))
