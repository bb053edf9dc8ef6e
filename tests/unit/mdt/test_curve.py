"""The outcome curve: zones of the response classes and places of the points."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from kanwa_mdt.domain.case import Point, Series
from kanwa_mdt.web.curve import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, curve
from kanwa_shared.clinical.response import classify

DONE = datetime(2026, 3, 2, 12, tzinfo=UTC)


def series(*points: tuple[float | None, str], measure: str = "pain-nrs", maximum: int | None = 10) -> Series:
    made = tuple(
        Point(f"Observation/{n}", DONE + timedelta(days=day or n), Decimal(value), value, day)
        for n, (day, value) in enumerate(points)
    )
    return Series(measure, "Pain", "{score}", "lower", 0, maximum, True, made)


@given(st.integers(3, 10), st.integers(0, 10))
def test_a_follow_up_lies_in_the_zone_of_its_class(baseline: int, value: int) -> None:
    drawn = curve(series((-1.0, str(baseline)), (7.0, str(value))))
    y = drawn.marks[1].y
    containing = {z.code for z in drawn.zones if z.top - 0.1 <= y <= z.top + z.height + 0.1}
    assert classify(Decimal(baseline), Decimal(value)).value in containing


def test_there_are_no_zones_without_a_baseline_that_relief_can_be_measured_from() -> None:
    assert curve(series((7.0, "3"))).zones == ()
    assert curve(series((-1.0, "2"), (7.0, "1"))).zones == ()


def test_there_are_no_zones_for_other_measures() -> None:
    assert curve(series((-1.0, "14.2"), (7.0, "6.1"), measure="bilirubin", maximum=None)).zones == ()


days = st.lists(st.floats(-30, 400, allow_nan=False), min_size=1, max_size=12).map(sorted)


@given(days, st.lists(st.integers(0, 50), min_size=12, max_size=12))
def test_every_point_and_tick_is_inside_the_picture(at: list[float], values: list[int]) -> None:
    drawn = curve(series(*((day, str(value)) for day, value in zip(at, values, strict=False)), maximum=None))
    assert all(LEFT <= mark.x <= RIGHT and TOP <= mark.y <= BOTTOM for mark in drawn.marks)
    assert all(0 <= tick.at <= WIDTH for tick in drawn.x_ticks)
    assert all(0 <= tick.at <= HEIGHT for tick in drawn.y_ticks)


@given(days)
def test_time_runs_to_the_right(at: list[float]) -> None:
    marks = curve(series(*((day, "5") for day in at))).marks
    assert [mark.x for mark in marks] == sorted(mark.x for mark in marks)


def test_the_picture_says_what_it_shows() -> None:
    assert curve(series((-1.0, "8"), (7.0, "3.5"))).summary == "Pain: 8 before the procedure, 3.5 on day 7"


def test_values_before_any_procedure_are_placed_by_date() -> None:
    drawn = curve(series((None, "8"), (None, "7")))
    assert [tick.label for tick in drawn.x_ticks] == ["2 Mar", "3 Mar"]
    assert drawn.procedure_at is None
