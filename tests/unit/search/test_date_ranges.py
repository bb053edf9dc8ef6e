"""Ranges of dates against a calendar walked by hand, and prefixes against the words of the specification."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanwa_shared.fhir.search.dates import EARLIEST, LATEST, later, period_of, range_of, zone_of
from kanwa_shared.fhir.search.ranges import (
    PREFIXES,
    Arm,
    Bound,
    Prefix,
    RangeTest,
    all_of,
    date_test,
    number_test,
)

NAIVE = datetime  # hypothesis and a calendar without zones take naive ones
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["9999-12-31T23:59:60Z", "9999-12-31T23:59:59.999999Z", "9999-12-31", "9999"]
)
def test_the_end_of_the_calendar_is_no_error(text: str) -> None:
    low, high = range_of(text)
    assert low <= high == LATEST
    assert period_of(text, None) == period_of(text, text) == (low, LATEST)
    assert later(low, timedelta(days=3653)) == LATEST


@pytest.mark.parametrize(
    ("text", "offset"),
    [("2026-12-31T23:59:60Z", 0), ("2026-12-31T23:59:60.5+09:00", 9), ("2026-03-05T14:00-03:30", -3.5)],
)
def test_an_instant_tells_its_zone(text: str, offset: float) -> None:
    assert zone_of(text).utcoffset(None) == timedelta(hours=offset)


@pytest.mark.parametrize("text", ["2026-12-31", "2026-12-31T23:59:00", "2026-12-31T23:59:00+30:00", "noon"])
def test_what_has_no_zone_tells_none(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        zone_of(text)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("2026", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("2024-02", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
        ("2026-12", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("2024-02-29", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"),
        ("2026-03-05T14:00", "2026-03-05T14:00:00Z", "2026-03-05T14:01:00Z"),
        ("2026-03-05T14:00+09:00", "2026-03-05T05:00:00Z", "2026-03-05T05:01:00Z"),
        ("2026-03-05T14:00:07", "2026-03-05T14:00:07Z", "2026-03-05T14:00:08Z"),
        ("2026-03-05T14:00:00", "2026-03-05T14:00:00Z", "2026-03-05T14:00:01Z"),
        ("2026-03-05T14:30:45", "2026-03-05T14:30:45Z", "2026-03-05T14:30:46Z"),
        ("2026-03-05T14:00:07Z", "2026-03-05T14:00:07Z", "2026-03-05T14:00:08Z"),
        ("2026-03-05T14:00:07-03:30", "2026-03-05T17:30:07Z", "2026-03-05T17:30:08Z"),
        ("2026-03-05T14:00:07.5Z", "2026-03-05T14:00:07.5Z", "2026-03-05T14:00:07.6Z"),
        ("2026-03-05T14:00:07.120-05:00", "2026-03-05T19:00:07.12Z", "2026-03-05T19:00:07.121Z"),
        ("2026-03-05T14:00:07.123456789Z", "2026-03-05T14:00:07.123456Z", "2026-03-05T14:00:07.123457Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z", "2017-01-01T00:00:01Z"),
    ],
)
def test_a_date_covers_the_time_of_its_precision(text: str, low: str, high: str) -> None:
    assert range_of(text) == (datetime.fromisoformat(low), datetime.fromisoformat(high))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "26",
        "2026-13",
        "2026-02-30",
        "2026-W10-1",
        "2026-3-5",
        "2026-03-05T24:00:00Z",
        "2026-03-05T10:60:00Z",
        "2026-03-05T10:00:61Z",
        "2026-03-05 10:00",
        "2026-03-05T10",
        "2026/03/05",
        "٢٠٢٦",
        "now",
    ],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        range_of(text)


def test_the_ends_of_the_calendar_are_kept() -> None:
    assert range_of("9999")[1] == LATEST
    assert range_of("9999-12-31T23:59:59-12:00")[1] == LATEST
    assert range_of("0001-01-01T00:00:00+09:00")[0] == EARLIEST


def test_a_time_without_zone_lies_in_the_zone_of_the_hospital() -> None:
    assert range_of("2026-03-05T14:00:00", ZoneInfo("Asia/Tokyo"))[0] == datetime(2026, 3, 5, 5, tzinfo=UTC)


def test_a_date_without_zone_lies_in_the_zone_of_the_hospital() -> None:
    tokyo = ZoneInfo("Asia/Tokyo")
    assert range_of("2026-03-05", tokyo)[0] == datetime(2026, 3, 4, 15, tzinfo=UTC)
    assert range_of("2026-03-05T08:00", tokyo)[0] == datetime(2026, 3, 4, 23, tzinfo=UTC)


def test_a_day_of_clock_change_has_its_own_length() -> None:
    low, high = range_of("2026-03-29", ZoneInfo("Europe/Berlin"))
    assert high - low == timedelta(hours=23)


def test_an_open_period_reaches_to_the_end_of_time() -> None:
    assert period_of("2026-03-05", None) == (datetime(2026, 3, 5, tzinfo=UTC), LATEST)
    assert period_of(None, "2026-03-05") == (EARLIEST, datetime(2026, 3, 6, tzinfo=UTC))


ZONES = st.sampled_from(["Z", "+09:00", "-05:00", "+05:45", "-03:30", "+00:00"])


@given(st.datetimes(NAIVE(1900, 1, 1), NAIVE(2200, 1, 1)), st.integers(1, 7), ZONES, st.integers(1, 6))
def test_ranges_agree_with_a_calendar_walked_by_hand(
    moment: datetime, precision: int, zone: str, digits: int
) -> None:
    text, low, high = _by_hand(moment, precision, zone, digits)
    assert range_of(text) == (low, high)


def _by_hand(moment: datetime, precision: int, zone: str, digits: int) -> tuple[str, datetime, datetime]:
    """Precision 1 is the year, 2 the month … 6 the second, 7 a fraction of `digits` digits."""
    if precision <= 3:
        parts = [f"{moment.year:04}", f"{moment.month:02}", f"{moment.day:02}"][:precision]
        low = NAIVE(moment.year, moment.month if precision > 1 else 1, moment.day if precision > 2 else 1)
        days = 365 + (monthrange(low.year, 2)[1] == 29)
        if precision > 1:
            days = monthrange(low.year, low.month)[1] if precision == 2 else 1
        return "-".join(parts), low.replace(tzinfo=UTC), (low + timedelta(days=days)).replace(tzinfo=UTC)
    text = moment.strftime("%Y-%m-%dT%H:%M") if moment.year > 999 else ""
    unit = timedelta(minutes=1)
    low = moment.replace(second=0, microsecond=0)
    if precision >= 6:
        text, unit, low = f"{text}:{moment.second:02}", timedelta(seconds=1), moment.replace(microsecond=0)
    if precision == 7:
        fraction = f"{moment.microsecond:06}"[:digits]
        text, unit = f"{text}.{fraction}", timedelta(microseconds=10 ** (6 - digits))
        low = low + timedelta(microseconds=int(fraction.ljust(6, "0")))
    low = low.replace(tzinfo=_offset(zone)).astimezone(UTC)
    return text + zone, low, low + unit


def _offset(zone: str) -> timezone:
    if zone == "Z":
        return UTC
    sign = -1 if zone[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6])))


def _holds(test: RangeTest, low: datetime | Decimal, high: datetime | Decimal) -> bool:
    return any(_arm_holds(arm, low, high) for arm in test.arms)


def _arm_holds(arm: Arm, low: datetime | Decimal, high: datetime | Decimal) -> bool:
    width = high - low
    wide = width > (0 if isinstance(width, Decimal) else timedelta(hours=24))
    return (wide or not arm.wide) and all(
        _bound_holds(bound, {"low": low, "high": high}[bound.column]) for bound in arm.bounds
    )


def _bound_holds(bound: Bound, value: datetime | Decimal) -> bool:
    other = bound.value
    return {
        "<": value < other,
        "<=": value <= other,
        ">": value > other,
        ">=": value >= other,
    }[bound.operator]


def _as_specified(prefix: Prefix, low: datetime, high: datetime, target: tuple[datetime, datetime]) -> bool:
    """R4 3.1.1.4.5 on half-open ranges: `low`, `high` is the searched value."""
    contains = low <= target[0] and target[1] <= high
    reaches_after = target[1] > high  # "the range above the search value intersects the target's"
    reaches_before = target[0] < low
    margin = abs(NOW - low) * 0.1
    return {
        "eq": contains,
        "ne": not contains,
        "gt": reaches_after,
        "lt": reaches_before,
        "ge": reaches_after or contains,
        "le": reaches_before or contains,
        "sa": target[0] >= high,
        "eb": target[1] <= low,
        "ap": target[0] < high + margin and target[1] > low - margin,
    }[prefix]


MOMENTS = st.datetimes(NAIVE(2026, 2, 20), NAIVE(2026, 3, 10)).map(
    lambda moment: moment.replace(minute=moment.minute // 30 * 30, second=0, microsecond=0, tzinfo=UTC)
)
WIDTHS = st.sampled_from([timedelta(seconds=1), timedelta(hours=24), timedelta(hours=25), timedelta(days=9)])


@given(st.sampled_from(PREFIXES), MOMENTS, WIDTHS, MOMENTS, WIDTHS)
def test_prefixes_select_what_the_specification_says(
    prefix: Prefix, low: datetime, width: timedelta, target: datetime, target_width: timedelta
) -> None:
    test = date_test(prefix, low, low + width, now=NOW)
    asked = _as_specified(prefix, low, low + width, (target, target + target_width))
    assert _holds(test, target, target + target_width) == asked


@given(st.sampled_from(PREFIXES), MOMENTS, st.sampled_from(PREFIXES), MOMENTS, MOMENTS, WIDTHS)
def test_joined_tests_select_what_each_of_them_selects(
    first: Prefix, low: datetime, second: Prefix, other: datetime, target: datetime, width: timedelta
) -> None:
    tests = [date_test(first, low, low + timedelta(days=1), now=NOW)]
    tests.append(date_test(second, other, other + timedelta(days=1), now=NOW))
    expected = all(_holds(test, target, target + width) for test in tests)
    assert _holds(all_of(tests), target, target + width) == expected


NUMBERS = st.sampled_from(
    ["-1", "0", "5", "5.0", "5.4", "5.45", "5.5", "6", "54e-1", "1e1", "10", "9.5", "11"]
)


@given(st.sampled_from(PREFIXES), NUMBERS, NUMBERS, NUMBERS)
def test_numbers_are_compared_with_the_precision_of_the_literal(
    prefix: Prefix, literal: str, first: str, second: str
) -> None:
    value = Decimal(literal)
    low, high = sorted([Decimal(first), Decimal(second)])
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    half = Decimal(10) ** exponent / 2
    contained = value - half <= low and high < value + half
    margin = abs(value) / 10
    expected = {
        "eq": contained,
        "ne": low < value - half or high >= value + half,
        "gt": high > value,
        "lt": low < value,
        "ge": high >= value,
        "le": low <= value,
        "sa": low > value,
        "eb": high < value,
        "ap": low <= value + margin and high >= value - margin,
    }[prefix]
    assert _holds(number_test(prefix, value), low, high) == expected
