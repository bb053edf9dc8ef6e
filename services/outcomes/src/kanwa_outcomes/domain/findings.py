"""From measurements to outcomes: derived anew from all facts each time, so that their order does not matter.

Rules are the catalogue's: the JIVROSG response class of pain; symptom better up to the primary day (JIVROSG-0809,
doi 10.1007/s00270-010-0057-y, and JIVROSG-0205, PMID 23796088); no rebleeding; and, where no source gives a
rule, the measured change without a class.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from kanwa_outcomes.domain.measurements import Measurement
from kanwa_outcomes.domain.windows import Window, response_day, window_of
from kanwa_shared.clinical import codes
from kanwa_shared.clinical.catalogue import CatalogueEntry, Measure
from kanwa_shared.clinical.response import SOURCE, classify, is_eligible

SYMPTOM_SOURCE: Final = "JIVROSG-0809, doi:10.1007/s00270-010-0057-y; JIVROSG-0205, PMID 23796088"
_DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Course:
    """A procedure of the catalogue and the values of its primary measure around it.

    `follow_up` is oldest first. `now` is aware UTC; a window has passed when it closed before `now`, and not
    before `patience_until`: what happened long ago may be recorded only now.
    """

    entry: CatalogueEntry
    ended: datetime
    baseline: Measurement | None
    follow_up: Sequence[Measurement]
    now: datetime
    patience_until: datetime

    def window(self, day: int) -> Window:
        """The window of a planned day."""
        return window_of(self.entry, day, self.ended)

    def value_in(self, window: Window) -> Measurement | None:
        """The value nearest to the due time among those in the window; the later of two as near."""
        inside = [m for m in self.follow_up if m.time is not None and window.holds(m.time)]
        return min(inside, key=lambda m: _distance(m, window.due), default=None)

    def day_of(self, measurement: Measurement) -> str:
        """How many days after the procedure's end it was measured, as words."""
        days = (measurement.order[0] - self.ended).total_seconds() / _DAY_SECONDS
        return f"day {round(days, 1):g}"

    def has_passed(self, window: Window) -> bool:
        """Whether no value can come any more: by the clock, or because a later one is in."""
        later = any(m.time is not None and m.time > window.closes for m in self.follow_up)
        return later or self.now > max(window.closes, self.patience_until)


@dataclass(frozen=True, slots=True)
class Finding:
    """One outcome of a procedure: `kind` is a code of CodeSystem outcome, `day` the planned day it is about.

    It has a `code` of `system`, or a `change` in `unit`, or neither: then `reason` says what is missing. `note`
    says how it came about. `inputs` are the measurements that it was derived from, baseline first.
    """

    kind: str
    day: int
    inputs: tuple[Measurement, ...]
    follow_up: Measurement | None
    note: str
    system: str | None = None
    code: str | None = None
    change: Decimal | None = None
    unit: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """All findings of a course; `primary` is the value with which the loop closes, `closed` whether it does."""

    findings: tuple[Finding, ...]
    baseline: Measurement | None
    primary: Measurement | None
    closed: bool

    @property
    def judgement(self) -> Finding | None:
        """The finding for the referrer: the response at one week, or the outcome at the primary day."""
        return next((f for f in self.findings if f.kind != "response-at-follow-up"), None)


def derive(course: Course) -> Outcome:
    """The outcome so far: a function of the facts alone, the same for any order in which they came."""
    window = course.window(course.entry.follow_up.primary_day)
    primary = course.value_in(window)
    findings = tuple(_RULES[course.entry.outcome](course))
    return Outcome(findings, course.baseline, primary, primary is not None or course.has_passed(window))


def _jivrosg_responses(course: Course) -> Iterator[Finding]:
    judged = response_day(course.entry)
    for day in (judged, *(d for d in course.entry.follow_up_days if d != judged)):
        finding = _jivrosg_response(
            course, day, "jivrosg-response" if day == judged else "response-at-follow-up"
        )
        # A visit that was missed says nothing new; at the day that is judged it says "not evaluable".
        if finding is not None and (day == judged or finding.follow_up is not None):
            yield finding


def _jivrosg_response(course: Course, day: int, kind: str) -> Finding | None:
    window, baseline = course.window(day), course.baseline
    value = course.value_in(window)
    if value is None and not course.has_passed(window):
        return None
    reason = None
    if baseline is None:
        reason = "no pain score before the procedure"
    elif not is_eligible(baseline.value):
        reason = f"the baseline of {baseline.value} is 2 or less already"
    elif value is None:
        reason = f"no pain score in the window of day {day}"
    inputs = _inputs(baseline, value)
    system = codes.JIVROSG_RESPONSE
    if reason is not None or baseline is None or value is None:
        note = f"Not evaluable on day {day}: {reason} ({SOURCE})."
        return Finding(kind, day, inputs, value, note, system, "NA", reason=reason)
    note = f"Pain {baseline.value} before, {value.value} on {course.day_of(value)} ({SOURCE})."
    return Finding(kind, day, inputs, value, note, system, classify(baseline.value, value.value).value)


def _symptom_response(course: Course) -> Iterator[Finding]:
    day, measure = course.entry.follow_up.primary_day, course.entry.primary_measure
    window, baseline = course.window(day), course.baseline
    value = course.value_in(window)
    if value is None and not course.has_passed(window):
        return
    system, kind = codes.SYMPTOM_RESPONSE, "symptom-response"
    if baseline is None or value is None:
        reason = _missing(baseline, day)
        note = f"Not evaluable on day {day}: {reason}."
        yield Finding(
            kind, day, _inputs(baseline, value), value, note, system, "not-evaluable", reason=reason
        )
        return
    until = [m for m in course.follow_up if m.order <= value.order]
    worst = [m for m in until if not _is_better(m, baseline, measure)]
    decisive = worst[0] if worst else value
    shown = f"{measure.display}: {baseline.value} before, {decisive.value} on {course.day_of(decisive)}"
    note = f"{shown}; effective if better at every measurement up to day {day} ({SYMPTOM_SOURCE})."
    code = "not-improved" if worst else "improved"
    yield Finding(kind, day, _inputs(baseline, decisive), decisive, note, system, code)


def _bleeding_control(course: Course) -> Iterator[Finding]:
    day = course.entry.follow_up.primary_day
    window = course.window(day)
    value = course.value_in(window)
    bled = next(
        (m for m in course.follow_up if m.value > 0 and (m.time or window.closes) <= window.closes), None
    )
    system, kind = codes.BLEEDING_CONTROL, "bleeding-control"
    if bled is not None:
        yield Finding(
            kind, day, (bled,), bled, "Rebleeding was reported after the procedure.", system, "rebleeding"
        )
    elif value is not None:
        note = f"No rebleeding was reported up to day {day}; repeat treatment is not seen from this measure."
        yield Finding(kind, day, (value,), value, note, system, "no-rebleeding")
    elif course.has_passed(window):
        reason = f"no report in the window of day {day}"
        yield Finding(
            kind, day, (), None, f"Not evaluable: {reason}.", system, "not-evaluable", reason=reason
        )


def _measured_change(course: Course) -> Iterator[Finding]:
    day, measure = course.entry.follow_up.primary_day, course.entry.primary_measure
    window, baseline = course.window(day), course.baseline
    value = course.value_in(window)
    if value is None and not course.has_passed(window):
        return
    inputs = _inputs(baseline, value)
    if baseline is None or value is None:
        reason = _missing(baseline, day)
    elif baseline.unit != value.unit:
        reason = f"the baseline is in {baseline.unit} and the value in {value.unit}"
    else:
        shown = f"{measure.display}: {baseline.value} before, {value.value} on {course.day_of(value)}"
        note = f"{shown}; no source gives a rule for a class."
        change = value.value - baseline.value
        yield Finding("measured-change", day, inputs, value, note, change=change, unit=value.unit)
        return
    yield Finding("measured-change", day, inputs, value, f"Not computable: {reason}.", reason=reason)


_RULES: Final[Mapping[str, Callable[[Course], Iterator[Finding]]]] = {
    "jivrosg-response": _jivrosg_responses,
    "symptom-response": _symptom_response,
    "bleeding-control": _bleeding_control,
    "measured-change": _measured_change,
}


def _is_better(value: Measurement, baseline: Measurement, measure: Measure) -> bool:
    return value.value < baseline.value if measure.better == "lower" else value.value > baseline.value


def _missing(baseline: Measurement | None, day: int) -> str:
    return "no value before the procedure" if baseline is None else f"no value in the window of day {day}"


def _inputs(*measurements: Measurement | None) -> tuple[Measurement, ...]:
    return tuple(m for m in measurements if m is not None)


def _distance(measurement: Measurement, due: datetime) -> tuple[float, float, str]:
    moment = measurement.order[0]
    return abs((moment - due).total_seconds()), -moment.timestamp(), measurement.reference
