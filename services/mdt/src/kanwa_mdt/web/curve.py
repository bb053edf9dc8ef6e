"""The outcome curve's geometry: a series as points, ticks and response zones of an SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from kanwa_mdt.domain.case import Point, Series
from kanwa_shared.clinical.response import (
    MODERATE_DECREASE,
    RELIEVED_UP_TO,
    SIGNIFICANT_DECREASE,
    is_eligible,
)

WIDTH: Final = 640
HEIGHT: Final = 260
LEFT: Final = 44
RIGHT: Final = 590
TOP: Final = 26
BOTTOM: Final = 218
_DAYS: Final = (1, 7, 28, 84, 180, 365)
_MIN_LABEL_GAP: Final = 34.0
_PAIN: Final = "pain-nrs"


@dataclass(frozen=True, slots=True)
class Mark:
    """A measurement in the picture: place, value as text and which side of the procedure it is on."""

    x: float
    y: float
    text: str
    baseline: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Zone:
    """A band of the JIVROSG response class, from `top` down `height`."""

    code: str
    top: float
    height: float


@dataclass(frozen=True, slots=True)
class Curve:
    """All that the template draws; lengths in the units of a WIDTH by HEIGHT picture."""

    series: Series
    marks: tuple[Mark, ...]
    path: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    zones: tuple[Zone, ...]
    procedure_at: float | None
    summary: str


def curve(series: Series) -> Curve:
    """Lay out a series. Time runs logarithmically from the procedure: day 1 matters as much as week 4."""
    low, high = _range(series)
    places = _places(series.points)
    spread = _Scale(min(places), max(places), LEFT + 22, RIGHT - 22)
    height = _Scale(low, high, BOTTOM, TOP)
    marks = tuple(
        Mark(round(spread.at(place), 1), round(height.at(float(p.value)), 1), p.text, _is_baseline(p))
        for p, place in zip(series.points, places, strict=True)
    )
    by_day = all(point.day is not None for point in series.points)
    return Curve(
        series=series,
        marks=marks,
        path=" ".join(f"{'L' if n else 'M'}{mark.x} {mark.y}" for n, mark in enumerate(marks)),
        x_ticks=_day_ticks(series.points, spread) if by_day else _date_ticks(series.points, spread),
        y_ticks=tuple(Tick(round(height.at(value), 1), _short(value)) for value in _steps(low, high)),
        zones=_zones(series, height),
        procedure_at=round(spread.at(0.0), 1) if by_day and min(places) <= 0.0 <= max(places) else None,
        summary=_summary(series),
    )


class _Scale:
    """A line from values to places."""

    def __init__(self, low: float, high: float, start: float, end: float):
        self._low, self._span = low, (high - low) or 1.0
        self._start, self._length = start, end - start
        self._flat = high == low

    def at(self, value: float) -> float:
        if self._flat:
            return self._start + self._length / 2
        return self._start + (value - self._low) / self._span * self._length


def _is_baseline(point: Point) -> bool:
    return point.day is None or point.day < 0


def _places(points: Sequence[Point]) -> list[float]:
    if all(point.day is not None for point in points):
        return [
            math.copysign(math.log1p(abs(point.day)), point.day) for point in points if point.day is not None
        ]
    return [point.time.timestamp() for point in points]


def _range(series: Series) -> tuple[float, float]:
    values = [float(point.value) for point in series.points]
    low = float(series.minimum) if series.minimum is not None else min(values)
    high = float(series.maximum) if series.maximum is not None else max(values) * 1.15
    # A value off its scale is drawn all the same: it was reported.
    low, high = min(low, *values), max(high, *values)
    return (low, high) if high > low else (low, low + 1.0)


def _steps(low: float, high: float) -> list[float]:
    raw = (high - low) / 5
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * n for n in (1, 2, 5, 10) if size * n >= raw)
    first = math.ceil(low / step)
    return [n * step for n in range(first, math.floor(high / step) + 1)]


def _day_ticks(points: Sequence[Point], spread: _Scale) -> tuple[Tick, ...]:
    days = [point.day for point in points if point.day is not None]
    wanted = [(spread.at(0.0), "Procedure")] if min(days) <= 0 <= max(days) else []
    if min(days) < 0:
        first = -math.log1p(-min(days))
        wanted.insert(0, (spread.at(first), "Before"))
    wanted += [
        (spread.at(math.log1p(day)), _day_words(day)) for day in _DAYS if min(days) <= day <= max(days) * 1.05
    ]
    kept: list[Tick] = []
    for at, label in sorted(wanted):
        if kept and at - kept[-1].at < _MIN_LABEL_GAP + 3 * (len(label) + len(kept[-1].label)) / 2:
            if kept[-1].label != "Before":
                continue
            kept.pop()
        kept.append(Tick(round(at, 1), label))
    return tuple(kept)


def _date_ticks(points: Sequence[Point], spread: _Scale) -> tuple[Tick, ...]:
    first, last = points[0].time, points[-1].time
    ends: list[datetime] = [first] if first.date() == last.date() else [first, last]
    return tuple(Tick(round(spread.at(t.timestamp()), 1), f"{t.astimezone(UTC):%-d %b}") for t in ends)


def _day_words(day: int) -> str:
    return f"Week {day // 7}" if 7 <= day < 84 else f"Day {day}" if day < 7 else f"Month {round(day / 30)}"


def _zones(series: Series, height: _Scale) -> tuple[Zone, ...]:
    """Where a follow-up value means SE, ME or NE, given the last baseline (Kobayashi 2009)."""
    before = [point.value for point in series.points if _is_baseline(point)]
    if series.measure != _PAIN or not before or not is_eligible(before[-1]):
        return ()
    significant = max(RELIEVED_UP_TO, before[-1] - SIGNIFICANT_DECREASE)
    moderate = max(significant, before[-1] - MODERATE_DECREASE)
    bounds = (("NE", Decimal(10), moderate), ("ME", moderate, significant), ("SE", significant, Decimal(0)))
    return tuple(
        Zone(
            code,
            round(height.at(float(upper)), 1),
            round(height.at(float(lower)) - height.at(float(upper)), 1),
        )
        for code, upper, lower in bounds
        if upper > lower
    )


def _short(value: float) -> str:
    return f"{value:g}"


def _summary(series: Series) -> str:
    """The curve in a sentence, for those who do not see it."""
    said = [f"{point.text} {_when(point)}" for point in series.points]
    return f"{series.display}: " + ", ".join(said)


def _when(point: Point) -> str:
    if point.day is None:
        return f"on {point.time:%Y-%m-%d}"
    return "before the procedure" if point.day < 0 else f"on day {round(point.day)}"
