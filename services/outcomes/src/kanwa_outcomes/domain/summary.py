"""What the referrer gets back: the procedure, what it changed, what went wrong, what is not known."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import NAMESPACE_URL, uuid5

from kanwa_outcomes.domain.findings import Course, Finding, Outcome
from kanwa_outcomes.domain.measurements import Measurement
from kanwa_outcomes.domain.performed import Performed
from kanwa_shared.clinical import codes
from kanwa_shared.clinical.catalogue import LENGTH_OF_STAY, Measure
from kanwa_shared.fhir.bundle import instant
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.search.dates import range_of


@dataclass(frozen=True, slots=True)
class Report:
    """All that a summary tells; `course` and `outcome` are None where nothing could be measured.

    `adverse_events` are lines as recorded; `length_of_stay` and `expected_stay`, the site's own figure, are words or
    None.
    """

    performed: Performed
    course: Course | None
    outcome: Outcome | None
    adverse_events: Sequence[str]
    length_of_stay: str | None
    expected_stay: str | None = None


def summary_id(performed: Performed) -> str:
    """The id of a procedure's summary: there is one."""
    return str(uuid5(NAMESPACE_URL, f"{performed.reference}/summary"))


def is_summary(document: Tree) -> bool:
    """Whether a DocumentReference is a summary for a referrer."""
    return codes.has_coding(document.get("type", {}), codes.DOCUMENT_TYPE, "referral-summary")


def summary_document(report: Report, request: str) -> Tree:
    """The DocumentReference for the referrer; a function of the facts alone, so that it is sent once for them."""
    performed = report.performed
    text = "\n".join(_lines(report))
    title = f"Summary: {performed.display}"
    tree: Tree = {
        "resourceType": "DocumentReference",
        "status": "current",
        "docStatus": "final",
        "type": codes.concept(codes.DOCUMENT_TYPE, "referral-summary"),
        "category": [codes.concept(codes.DOCUMENT_TYPE, "referral-summary")],
        "subject": performed.subject,
        "description": title,
        "content": [
            {
                "attachment": {
                    "contentType": "text/plain; charset=utf-8",
                    "data": b64encode(text.encode()).decode(),
                    "title": title,
                }
            }
        ],
        "context": {"related": [{"reference": request}, {"reference": performed.reference}]},
    }
    if performed.ended is not None:
        tree["date"] = instant(_date(performed.ended, report.outcome))
    return tree


def length_of_stay(encounter: Tree | None) -> str | None:
    """Days in hospital by the Procedure's Encounter: its length, else its period; None where it does not say."""
    stated: Tree = (encounter or {}).get("length", {})
    if "value" in stated:
        return f"{stated['value']} {stated.get('unit') or stated.get('code', '')}".strip()
    period: Tree = (encounter or {}).get("period", {})
    if "start" not in period or "end" not in period:
        return None
    days = (range_of(period["end"])[0].date() - range_of(period["start"])[0].date()).days
    return f"{days} d"


def _lines(report: Report) -> Iterator[str]:
    performed = report.performed
    yield f"Procedure: {performed.display} ({performed.reference})"
    yield f"Performed: {_performed(performed)}"
    if report.course is not None and report.outcome is not None:
        yield from _result(report.course, report.outcome)
    else:
        yield "Result: not evaluable; no measure is planned for this procedure, or its time is not stated"
    yield "Complications: " + ("; ".join(performed.complications) or "none reported")
    yield "Adverse events: " + ("; ".join(report.adverse_events) or "none reported")
    yield f"Length of stay: {report.length_of_stay or LENGTH_OF_STAY}"
    if report.expected_stay is not None:
        yield f"Length of stay expected at this site: {report.expected_stay}"


def _result(course: Course, outcome: Outcome) -> Iterator[str]:
    measure = course.entry.primary_measure
    yield f"Result: {_judged(outcome.judgement)}"
    yield f"{measure.display}, before: {_shown(outcome.baseline, measure)}"
    if not course.follow_up:
        yield f"{measure.display}, after: not measured"
    for value in course.follow_up:
        yield f"{measure.display}, {course.day_of(value)}: {_shown(value, measure)}"
    if outcome.judgement is not None:
        yield f"Derivation: {outcome.judgement.note}"


def _judged(finding: Finding | None) -> str:
    if finding is None:
        return "not known yet"
    if finding.system is not None and finding.code is not None:
        shown = codes.display_of(finding.system, finding.code) or finding.code
        # JIVROSG's classes are known by their letters.
        letters = f" ({finding.code})" if finding.code.isupper() else ""
        return f"{shown}{letters}, judged for day {finding.day}"
    if finding.change is not None:
        return f"change of {finding.change:+f} {finding.unit}, planned for day {finding.day}"
    return f"not computable: {finding.reason}"


def _shown(measurement: Measurement | None, measure: Measure) -> str:
    if measurement is None:
        return "not measured"
    unit = "" if measure.kind != "quantity" else f" {measurement.unit}"
    at = f" ({instant(measurement.time)})" if measurement.time else ""
    return f"{measurement.value}{unit}{at}"


def _performed(performed: Performed) -> str:
    if performed.started is None or performed.ended is None:
        return "time not stated"
    return f"{instant(performed.started)} to {instant(performed.ended)}"


def _date(ended: datetime, outcome: Outcome | None) -> datetime:
    """When the newest fact that the summary judges by was true."""
    judged = [outcome.primary, outcome.judgement.follow_up if outcome.judgement else None] if outcome else []
    return max([ended, *(m.order[0] for m in judged if m is not None)])
