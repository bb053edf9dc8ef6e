"""Procedures and measurements around them, as FHIR trees, and the course that they make."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from kanwa_outcomes.domain.attribution import baseline_of, follow_up_of
from kanwa_outcomes.domain.findings import Course
from kanwa_outcomes.domain.measurements import read_measurements
from kanwa_outcomes.domain.performed import Performed, read_performed
from kanwa_shared.clinical import codes
from kanwa_shared.clinical.catalogue import Measure, catalogue, measures
from kanwa_shared.fhir.json_text import JsonDecimal

Tree = dict[str, Any]

STARTED = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ENDED = STARTED + timedelta(minutes=45)
PATIENT = {"reference": "Patient/p"}
PAIN = measures()["pain-nrs"]


def day(number: float) -> datetime:
    """So many days after the procedure's end."""
    return ENDED + timedelta(days=number)


def text(moment: datetime) -> str:
    """A FHIR instant."""
    return moment.isoformat().replace("+00:00", "Z")


def observation(
    value: float | str | None,
    when: datetime | None,
    *,
    measure: Measure = PAIN,
    status: str = "final",
    **more: Any,
) -> Tree:
    """An Observation of `measure` of PATIENT, as valueQuantity; `more` replaces or adds elements."""
    tree: Tree = {
        "resourceType": "Observation",
        "status": status,
        "code": measure.concept(),
        "subject": PATIENT,
    }
    if value is not None:
        tree["valueQuantity"] = measure.quantity(JsonDecimal(str(value)))
    if when is not None:
        tree["effectiveDateTime"] = text(when)
    return {**tree, **more}


def request(code: str = "vertebroplasty", id: str = "r", **more: Any) -> Tree:
    """A referral for a procedure of the catalogue."""
    return {
        "resourceType": "ServiceRequest",
        "id": id,
        "status": "active",
        "intent": "order",
        "code": codes.concept(codes.IR_PROCEDURE, code),
        "subject": PATIENT,
        **more,
    }


def procedure(code: str = "vertebroplasty", id: str = "x", **more: Any) -> Tree:
    """A completed procedure from STARTED to ENDED for ServiceRequest/r."""
    return {
        "resourceType": "Procedure",
        "id": id,
        "status": "completed",
        "code": codes.concept(codes.IR_PROCEDURE, code),
        "subject": PATIENT,
        "basedOn": [{"reference": "ServiceRequest/r"}],
        "performedPeriod": {"start": text(STARTED), "end": text(ENDED)},
        **more,
    }


def performed(code: str = "vertebroplasty", id: str = "x", **more: Any) -> Performed:
    """What the derivation reads of `procedure`."""
    return read_performed(f"Procedure/{id}", procedure(code, id, **more), request(code))


def course(
    observations: Sequence[tuple[str, Tree]],
    *,
    code: str = "vertebroplasty",
    now: datetime = ENDED,
    patience_until: datetime = ENDED,
    longest_baseline: timedelta = timedelta(days=30),
) -> Course:
    """The course of one procedure of PATIENT with these (reference, Observation)."""
    entry, done = catalogue()[code], performed(code)
    measured = read_measurements(observations, entry.primary_measure)
    follow_up = follow_up_of(done, [done], measured)
    baseline = baseline_of(done, follow_up, measured, longest=longest_baseline)
    return Course(entry, ENDED, baseline, follow_up, now, patience_until)


def values(*pairs: tuple[float, float], measure: Measure = PAIN) -> list[tuple[str, Tree]]:
    """(reference, Observation) for (day, value); the baseline has a day below 0."""
    return [
        (f"Observation/o{n}", observation(value, day(when), measure=measure))
        for n, (when, value) in enumerate(pairs)
    ]
