"""Prefixes (`ge`, `sa`, `ap` …) as conditions on the `low` and `high` of an index row.

https://hl7.org/fhir/R4/search.html#prefix. Every condition is a list of arms, each a conjunction that
bounds `low` wherever that is possible, so that it is a range of the index by `low`. Only rows that are wider than
the narrow width reach over a bound by more than that; those have an index by `high`. A row is in one arm at most,
so that the arms can be read one after the other without meeting a row twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import Any, Final, Literal

from kanwa_shared.fhir.search.dates import EARLIEST, LATEST
from kanwa_shared.fhir.search.numbers import half_width

Prefix = Literal["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]
PREFIXES: Final[tuple[Prefix, ...]] = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
Operator = Literal["<", "<=", ">", ">="]
APPROXIMATELY: Final = Decimal("0.1")
"""`ap` means within 10 % of the value, or of the time between the date and now (R4's recommendation)."""
NARROW_DATE: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Bound:
    """`low` or `high` compared with a value."""

    column: Literal["low", "high"]
    operator: Operator
    value: datetime | Decimal


@dataclass(frozen=True, slots=True)
class Arm:
    """A conjunction of bounds; `wide`: only for rows wider than the narrow width."""

    bounds: tuple[Bound, ...]
    wide: bool = False


@dataclass(frozen=True, slots=True)
class RangeTest:
    """One searched value. `system` and `code` of a quantity: None where the search does not say.

    `unit_too`: `code` may also be the unit as written for people.
    """

    arms: tuple[Arm, ...]
    system: str | None = None
    code: str | None = None
    unit_too: bool = False


def all_of(tests: list[RangeTest]) -> RangeTest:
    """Several tests that one row must pass; for parameters with at most one row, where AND means that."""
    arms = tuple(
        Arm(tuple(bound for arm in combination for bound in arm.bounds), any(arm.wide for arm in combination))
        for combination in product(*(test.arms for test in tests))
    )
    return RangeTest(arms, tests[0].system, tests[0].code, tests[0].unit_too)


def date_test(prefix: Prefix, low: datetime, high: datetime, *, now: datetime) -> RangeTest:
    """The test of a date: [low, high) is the searched value at its precision."""
    if prefix == "ap":
        margin = abs(now - low) * float(APPROXIMATELY)
        low, high = _moved(low, -margin), _moved(high, margin)
        overlap = _above("high", ">", low, _moved(low, -NARROW_DATE))
        return RangeTest(tuple(Arm((*arm.bounds, Bound("low", "<", high)), arm.wide) for arm in overlap))
    if prefix in ("gt", "ge"):
        start = low if prefix == "ge" else None
        return RangeTest(tuple(_later(start, high)))
    bounds: dict[Prefix, tuple[tuple[Bound, ...], ...]] = {
        "eq": ((Bound("low", ">=", low), Bound("low", "<", high), Bound("high", "<=", high)),),
        "ne": ((Bound("low", "<", low),), (Bound("low", ">=", low), Bound("high", ">", high))),
        "lt": ((Bound("low", "<", low),),),
        "le": (
            (Bound("low", "<", low),),
            (Bound("low", ">=", low), Bound("low", "<", high), Bound("high", "<=", high)),
        ),
        "sa": ((Bound("low", ">=", high),),),
        "eb": ((Bound("low", "<", low), Bound("high", "<=", low)),),
    }
    return RangeTest(tuple(Arm(arm) for arm in bounds[prefix]))


def _later(start: datetime | None, high: datetime) -> Iterator[Arm]:
    """Rows that reach over `high`, or start at or after `start`; each in one arm only."""
    earlier = () if start is None else (Bound("low", "<", start),)
    if start is not None:
        yield Arm((Bound("low", ">=", start),))
    narrow, wide = _above("high", ">", high, _moved(high, -NARROW_DATE))
    if start is None or high - start < NARROW_DATE:
        yield Arm((*narrow.bounds, *earlier))
        yield Arm((*wide.bounds, *earlier), wide=True)
    else:
        yield Arm((*earlier, *wide.bounds[1:]), wide=True)


def _above(column: Literal["high"], operator: Operator, value: Any, narrow: Any) -> tuple[Arm, Arm]:
    """Rows whose `high` is above `value`: the narrow ones by their `low`, the wide ones by their `high`."""
    reach = Bound(column, operator, value)
    return Arm((Bound("low", ">", narrow), reach)), Arm((Bound("low", "<=", narrow), reach), wide=True)


def _moved(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        return EARLIEST if by < timedelta(0) else LATEST


def number_test(
    prefix: Prefix,
    value: Decimal,
    *,
    system: str | None = None,
    code: str | None = None,
    unit_too: bool = False,
) -> RangeTest:
    """The test of a number or quantity: `eq` and `ne` at the literal's precision, the others exactly."""
    arms = tuple(Arm(bounds, wide) for bounds, wide in _number_arms(prefix, value))
    return RangeTest(arms, system, code, unit_too)


def _number_arms(prefix: Prefix, value: Decimal) -> list[tuple[tuple[Bound, ...], bool]]:
    half = half_width(value)
    match prefix:
        case "eq":
            return [((Bound("low", ">=", value - half), *_below("<", value + half)), False)]
        case "ne":
            return [
                ((Bound("low", "<", value - half),), False),
                ((Bound("low", ">=", value - half), Bound("high", ">=", value + half)), False),
            ]
        case "gt":
            return [
                ((Bound("low", ">", value),), False),
                ((Bound("low", "<=", value), Bound("high", ">", value)), True),
            ]
        case "ge":
            return [
                ((Bound("low", ">=", value),), False),
                ((Bound("low", "<", value), Bound("high", ">=", value)), True),
            ]
        case "lt":
            return [((Bound("low", "<", value),), False)]
        case "le":
            return [((Bound("low", "<=", value),), False)]
        case "sa":
            return [((Bound("low", ">", value),), False)]
        case "eb":
            return [(_below("<", value), False)]
        case "ap":
            low, high = value - abs(value) * APPROXIMATELY, value + abs(value) * APPROXIMATELY
            upper = Bound("low", "<=", high)
            return [
                ((Bound("low", ">=", low), upper), False),
                ((Bound("low", "<", low), Bound("high", ">=", low)), True),
            ]


def _below(operator: Operator, value: Decimal) -> tuple[Bound, Bound]:
    """`high` below a value, and so `low` too, for the index."""
    return Bound("low", operator, value), Bound("high", operator, value)
