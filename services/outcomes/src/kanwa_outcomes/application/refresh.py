"""Derive a patient's outcomes anew from all facts, and write what differs from what was derived before."""

from uuid import NAMESPACE_URL, uuid5

from kanwa_outcomes.application.facts import KnownProcedure, PatientFacts, gather
from kanwa_outcomes.domain.adverse_events import adverse_event_lines
from kanwa_outcomes.domain.attribution import baseline_of, follow_up_of
from kanwa_outcomes.domain.closure import patience_until
from kanwa_outcomes.domain.derived_observation import derived_id, derived_observation, withdrawn
from kanwa_outcomes.domain.findings import Course, Finding, Outcome, derive
from kanwa_outcomes.domain.follow_up import after_facts, follow_up_id, planned_tasks
from kanwa_outcomes.domain.measurements import read_measurements
from kanwa_outcomes.domain.performed import Performed
from kanwa_outcomes.domain.summary import Report, length_of_stay, summary_document, summary_id
from kanwa_outcomes.settings import outcomes_settings
from kanwa_outcomes.store.awaiting_closure import closed
from kanwa_shared.clinical import codes
from kanwa_shared.clinical.length_of_stay import expected_length_of_stay, stay_in_words
from kanwa_shared.clinical.response import is_eligible
from kanwa_shared.fhir.bundle import instant
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.rest.service import Context


async def refresh(subject: str, context: Context) -> None:
    """Bring all that is derived about `Patient/{id}` up to the facts; writes nothing where nothing changed."""
    facts = await gather(subject, context)
    if facts is None:
        return
    standing: set[str] = set()
    for procedure in facts.procedures:
        course = _course(procedure, facts, context)
        outcome = derive(course) if course is not None else None
        if outcome is not None:
            standing |= _write_findings(procedure.performed, outcome, facts, context)
        if course is not None:
            _write_follow_ups(procedure.performed, course, facts, context)
        if outcome is None or outcome.closed:
            await _report(procedure, course, outcome, facts, context)
    for stored in facts.derived:
        if stored.id not in standing and stored.tree["status"] != "entered-in-error":
            context.changes.update(stored, withdrawn(stored.tree))


def _course(procedure: KnownProcedure, facts: PatientFacts, context: Context) -> Course | None:
    """What was measured around a procedure; None where nothing is planned or its time is not known."""
    performed, settings = procedure.performed, outcomes_settings(context)
    if performed.entry is None or performed.ended is None:
        return None
    measured = read_measurements(facts.observations, performed.entry.primary_measure)
    follow_up = follow_up_of(performed, facts.rivals_of(performed), measured)
    return Course(
        performed.entry,
        performed.ended,
        baseline_of(performed, follow_up, measured, longest=settings.longest_baseline),
        follow_up,
        context.now,
        patience_until(procedure.known_since, settings.closing_patience),
    )


def _write_findings(
    performed: Performed, outcome: Outcome, facts: PatientFacts, context: Context
) -> set[str]:
    """Write the findings that are new or differ; returns the ids of all."""
    known = facts.derived_of(performed)
    ids: set[str] = set()
    for finding in outcome.findings:
        id = derived_id(performed, finding)
        ids.add(id)
        tree = derived_observation(performed, finding)
        current = known.get(id)
        if current is not None and _content(current.tree) == tree:
            continue
        if current is None:
            context.changes.create(tree, id=id)
        else:
            context.changes.update(current, tree)
        _flag_baseline(performed, finding, context)
    return ids


def _flag_baseline(performed: Performed, finding: Finding, context: Context) -> None:
    """Pain of 2 or less before the procedure leaves no relief to be measured: somebody should know."""
    baseline = finding.inputs[0] if finding.inputs else None
    low = (
        baseline is not None and finding.system == codes.JIVROSG_RESPONSE and not is_eligible(baseline.value)
    )
    if baseline is None or not low:
        return
    implicated = [performed.reference, baseline.reference]
    issue: Tree = {
        "resourceType": "DetectedIssue",
        "status": "final",
        "code": codes.concept(codes.DETECTED_ISSUE, "baseline-too-low"),
        "severity": "low",
        "patient": performed.subject,
        "identifiedDateTime": instant(context.now),
        "implicated": [{"reference": reference} for reference in implicated],
        "detail": finding.note,
    }
    context.changes.hand_over(issue, id=str(uuid5(NAMESPACE_URL, f"{performed.reference}/baseline-too-low")))


def _write_follow_ups(performed: Performed, course: Course, facts: PatientFacts, context: Context) -> None:
    """Close the follow-up Tasks that were answered, and move those whose procedure's time was corrected."""
    planned = dict(planned_tasks(performed, now=context.now))
    day_of = {follow_up_id(performed, day): day for day in course.entry.follow_up_days}
    for task in facts.follow_ups:
        if task.id not in planned:
            continue
        after = after_facts(task.tree, planned[task.id], course, day_of[task.id], now=context.now)
        if after is not None:
            context.changes.hand_over(after, id=task.id, interaction="update", base=task)


async def _report(
    procedure: KnownProcedure,
    course: Course | None,
    outcome: Outcome | None,
    facts: PatientFacts,
    context: Context,
) -> None:
    """Send the referrer the summary, once for the same facts."""
    performed = procedure.performed
    if performed.request is None or not await _is_in_loop(performed, performed.request, context):
        return
    adverse_events = adverse_event_lines(performed, facts.adverse_events)
    stay = length_of_stay(procedure.encounter)
    report = Report(performed, course, outcome, adverse_events, stay, _expected_stay(procedure))
    id, document = summary_id(performed), summary_document(report, performed.request)
    known = await context.get("DocumentReference", id)
    closed(performed.id, context)
    if known is None:
        context.changes.hand_over(document, id=id)
    elif not known.deleted and _content(known.tree) != document:
        context.changes.hand_over(document, id=id, interaction="update")


def _expected_stay(procedure: KnownProcedure) -> str | None:
    entry = procedure.performed.entry
    stated = expected_length_of_stay(entry.code, procedure.places) if entry is not None else None
    return stay_in_words(stated) if stated is not None else None


async def _is_in_loop(performed: Performed, request: str, context: Context) -> bool:
    """Whether a referral is behind the procedure: always for the catalogue, else if it has a coordination Task."""
    if performed.entry is not None:
        return True

    def coordinates(tree: Tree) -> bool:
        focus = tree.get("focus", {}).get("reference")
        return focus == request and codes.has_coding(tree.get("code", {}), codes.TASK_CODE, "fulfill")

    found = await context.find("Task", coordinates, focus=request, code=f"{codes.TASK_CODE}|fulfill")
    return bool(found)


def _content(tree: Tree) -> Tree:
    return {name: value for name, value in tree.items() if name not in {"id", "meta"}}
