"""How two values of R4 elements compare, for invariants."""

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, cast

from kanwa_shared.fhir.json_types import Tree


class Undecidable(Exception):  # a third truth value, is no error of the program
    """The values cannot be compared, such as 5 mg and 5 mL: no invariant is broken by them."""


_DATE: Final = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d))?)?)?", re.ASCII
)


def equal(left: Any, right: Any) -> bool:
    """Equality of JSON values; true is not 1, as in Python it would be."""
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def key(value: Any) -> Any:
    """A hashable stand-in for a JSON value, equal for equal values, so that sets of codings cost no n times m."""
    if isinstance(value, dict):
        return frozenset((name, key(member)) for name, member in cast("Tree", value).items())
    if isinstance(value, list):
        return tuple(key(item) for item in cast("list[Any]", value))
    return (value,) if isinstance(value, bool) else value  # alone, true would be 1


def at_most(left: Any, right: Any) -> bool:
    """Whether left <= right: numbers, Quantities of one unit, dates by their first and last possible instant.

    2024-02 <= 2024-02-10 holds, for the month may have begun before that day: R4 lets a Period's end stand
    for all of the time that it names. Raises `Undecidable` when nothing can be said.
    """
    if isinstance(left, dict) and isinstance(right, dict):
        return _quantities_at_most(cast("Tree", left), cast("Tree", right))
    if isinstance(left, str) and isinstance(right, str):
        # Two dates without a time are of one calendar; only beside an instant does their time zone matter.
        beside_instant = "T" in left or "T" in right
        return span(left, beside_instant)[0] <= span(right, beside_instant)[1]
    if isinstance(left, int | float | Decimal) and isinstance(right, int | float | Decimal):
        return left <= right
    raise Undecidable


def _quantities_at_most(left: Tree, right: Tree) -> bool:
    if "value" not in left or "value" not in right or _unit(left) != _unit(right):
        raise Undecidable
    return left["value"] <= right["value"]


def _unit(quantity: Tree) -> tuple[Any, Any]:
    if "code" in quantity:
        return quantity.get("system"), quantity["code"]
    return None, quantity.get("unit")


def span(text: str, any_zone: bool) -> tuple[datetime, datetime]:
    """The first instant a date or dateTime may mean and the last.

    With `any_zone` a date without offset is widened by 14 hours to both sides, for its time zone is not known.
    Raises `Undecidable` for text that is no date.
    """
    match = _DATE.fullmatch(text)
    if match is None:
        raise Undecidable
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        if hour is None:
            first, last = _days(int(year), int(month) if month else None, int(day) if day else None)
            return (first - _ZONE_UNCERTAINTY, last + _ZONE_UNCERTAINTY) if any_zone else (first, last)
        moment = datetime(int(year), int(month), int(day), int(hour), int(minute), tzinfo=UTC)
        moment += timedelta(seconds=int(second), microseconds=int(((fraction or ".0")[1:] + "00000")[:6]))
        moment -= _offset(zone)
    except (ValueError, OverflowError):
        raise Undecidable from None
    return moment, moment if fraction else moment + timedelta(milliseconds=999)


_ZONE_UNCERTAINTY: Final = timedelta(hours=14)


def _days(year: int, month: int | None, day: int | None) -> tuple[datetime, datetime]:
    first = datetime(year, month or 1, day or 1, tzinfo=UTC)
    last_month = month or 12
    last = datetime(year, last_month, day or monthrange(year, last_month)[1], 23, 59, 59, tzinfo=UTC)
    return first, last


def _offset(zone: str) -> timedelta:
    if zone == "Z":
        return timedelta()
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    return timedelta(hours=hours, minutes=minutes) * (-1 if zone[0] == "-" else 1)
