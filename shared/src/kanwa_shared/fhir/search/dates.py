"""FHIR dates as half-open ranges of time: a date is the whole day, a year the whole year.

https://hl7.org/fhir/R4/search.html#date
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
"""Stands for "no start"."""
LATEST: Final = datetime.max.replace(tzinfo=UTC)
"""Stands for "no end"."""

_MICROSECOND: Final = timedelta(microseconds=1)
_PATTERN: Final = re.compile(
    r"(?P<year>\d{4})(-(?P<month>\d\d)(-(?P<day>\d\d)"
    r"(T(?P<hour>\d\d):(?P<minute>\d\d)(:(?P<second>\d\d)(\.(?P<fraction>\d{1,20}))?)?"
    r"(?P<zone>Z|[+-]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)

_DAY: Final = timedelta(days=1)
_WIDTHS: Final = [timedelta(microseconds=10 ** (6 - digits)) for digits in range(7)]
"""How long a moment lasts, by the digits of its fraction of a second."""
_QUARTERS: Final = (":00", ":30", ":45", ":15")
"""How an offset ends, and a time without one may too."""

Range = tuple[datetime, datetime]
"""[low, high): the first moment of it, and the first moment after it; both in UTC."""


# One request dates all that it writes with the same moment.
@lru_cache(maxsize=1024)
def range_of(text: str, zone: tzinfo = UTC) -> Range:
    """The range that a FHIR date, dateTime or instant covers at its precision.

    Seconds and zone may be left out, as FHIR-PYrate does; `zone` is then the time zone (R4: the server's).
    Raises ValueError when `text` is no date.
    """
    if (quick := _quick_range(text, zone)) is not None:
        return quick
    found = _PATTERN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a date")
    year = int(found["year"])
    if found["month"] is None:
        return _utc(datetime(year, 1, 1, tzinfo=zone)), _after(year + 1, 1, zone)
    month = int(found["month"])
    if found["day"] is None:
        following = (year, month + 1) if month < 12 else (year + 1, 1)
        return _utc(datetime(year, month, 1, tzinfo=zone)), _after(*following, zone)
    day = datetime(year, month, int(found["day"]), tzinfo=zone)
    if found["hour"] is None:
        return _utc(day), _utc(later(day, _DAY))
    return _moment(day, found, zone)


def _quick_range(text: str, zone: tzinfo) -> Range | None:
    """The two usual forms, a day and a moment with seconds and zone; None sends all others the longer way."""
    if text[4:5] != "-" or text[7:8] != "-" or not text.isascii():
        return None
    try:
        if len(text) == 10:
            day = datetime.fromisoformat(text).replace(tzinfo=zone)
            return _utc(day), _utc(later(day, _DAY))
        zoned = text.endswith("Z") or (text[-6:-5] in ("+", "-") and text.endswith(_QUARTERS))
        if text[10:11] != "T" or text[16:17] != ":" or not zoned:
            return None
        start = datetime.fromisoformat(text).astimezone(UTC)
        digits = len(text.rstrip("Z").split("+")[0][20:].split("-")[0]) if text[19:20] == "." else 0
        return start, start + _WIDTHS[min(digits, 6)]
    except (ValueError, OverflowError):
        return None


def _moment(day: datetime, found: re.Match[str], zone: tzinfo) -> Range:
    if found["zone"]:
        zone = _offset(found["zone"])
    start = day.replace(hour=int(found["hour"]), minute=int(found["minute"]), tzinfo=zone)
    if found["second"] is None:
        return _utc(start), _utc(later(start, timedelta(minutes=1)))
    seconds, fraction = int(found["second"]), found["fraction"] or ""
    if seconds > 60:  # 60 is a leap second; UTC in Python has none, so it is the next second
        raise ValueError("a minute has at most 60 seconds")
    start = later(start, timedelta(seconds=seconds, microseconds=int(fraction[:6].ljust(6, "0") or 0)))
    return _utc(start), _utc(later(start, _WIDTHS[min(len(fraction), 6)]))


def _after(year: int, month: int, zone: tzinfo) -> datetime:
    return LATEST if year > 9999 else _utc(datetime(year, month, 1, tzinfo=zone))


def _offset(text: str) -> tzinfo:
    return UTC if text == "Z" else datetime.strptime(text, "%z").tzinfo or UTC


def later(moment: datetime, width: timedelta) -> datetime:
    """The moment after `width`, `LATEST` where that is beyond what a datetime holds."""
    try:
        return moment + width
    except OverflowError:
        return LATEST


def _utc(moment: datetime) -> datetime:
    """`moment` in UTC; a zone can move the first or the last day out of what a datetime holds."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return EARLIEST if moment.year == 1 else LATEST


def period_of(start: str | None, end: str | None, zone: tzinfo = UTC) -> Range:
    """The range of a Period: from the start of its start to the end of its end, open where one is missing."""
    low = range_of(start, zone)[0] if start else EARLIEST
    high = range_of(end, zone)[1] if end else LATEST
    return low, max(high, later(low, _MICROSECOND))


def zone_of(text: str) -> tzinfo:
    """The zone in which an instant is written. Raises ValueError where it has none, or is none."""
    found = _PATTERN.fullmatch(text)
    if found is None or not found["zone"]:
        raise ValueError(f"{text!r} is not an instant")
    return _offset(found["zone"])
