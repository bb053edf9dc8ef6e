"""Which measurements are a procedure's baseline candidates and which its follow-up.

An Observation that names its Procedure (partOf) or its ServiceRequest (basedOn) belongs to that one. Any other
belongs to the one procedure that its time allows; if it could be two, it is nobody's: no guess is made.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from kanwa_outcomes.domain.measurements import Measurement
from kanwa_outcomes.domain.performed import Performed
from kanwa_outcomes.domain.windows import window_of


def follow_up_of(
    performed: Performed, all_performed: Sequence[Performed], measurements: Sequence[Measurement]
) -> tuple[Measurement, ...]:
    """The measurements after a procedure that are its own, oldest first.

    `all_performed` are the patient's completed procedures with the same primary measure, this one included.
    """
    return tuple(m for m in measurements if _is_follow_up(m, performed, all_performed))


def baseline_of(
    performed: Performed,
    follow_up: Sequence[Measurement],
    measurements: Sequence[Measurement],
    *,
    longest: timedelta,
) -> Measurement | None:
    """The value from which change is measured; None if there is none.

    Project choice, since the trial says only "baseline": the last value at or before the procedure's start, no
    older than `longest`; else the last value at or before the referral; else the last one without a time that
    names neither procedure nor request.
    """
    started = performed.started
    others = [m for m in measurements if m not in follow_up]
    before = [
        m
        for m in others
        if m.time is not None and started is not None and started - longest <= m.time <= started
    ]
    referred = [m for m in others if _before_referral(m, performed)]
    undated = [m for m in others if m.time is None and not m.part_of and not m.based_on]
    tiers = (before, referred if started is None or not _any_before(others, started) else [], undated)
    return next((max(tier, key=lambda m: m.order) for tier in tiers if tier), None)


def _any_before(measurements: Sequence[Measurement], started: datetime) -> bool:
    """A value before the start that is too old is no reason to take one from after it."""
    return any(m.time is not None and m.time <= started for m in measurements)


def _is_follow_up(measurement: Measurement, performed: Performed, all_performed: Sequence[Performed]) -> bool:
    if measurement.time is None or performed.ended is None or measurement.time <= performed.ended:
        return False
    if measurement.part_of:
        return performed.reference in measurement.part_of
    if measurement.based_on:
        return performed.request in measurement.based_on
    if _before_referral(measurement, performed):
        # The record of a procedure may come before its referral's: what was measured before is its baseline.
        return False
    return _by_time(measurement.time, all_performed) == performed


def _by_time(moment: datetime, all_performed: Sequence[Performed]) -> Performed | None:
    """The procedure that waits for a value at `moment`, else the last one before it; None if two wait."""
    earlier = [p for p in all_performed if p.ended is not None and p.ended < moment]
    waiting = [p for p in earlier if _waits(p, moment)]
    if len(waiting) > 1:
        return None
    return max(waiting or earlier, key=lambda p: (p.ended, p.reference), default=None)


def _waits(performed: Performed, moment: datetime) -> bool:
    entry, ended = performed.entry, performed.ended
    return (
        entry is not None
        and ended is not None
        and moment <= window_of(entry, entry.follow_up.primary_day, ended).closes
    )


def _before_referral(measurement: Measurement, performed: Performed) -> bool:
    return (
        performed.referred is not None
        and measurement.time is not None
        and measurement.time <= performed.referred
        and not measurement.part_of
        and not measurement.based_on
    )
