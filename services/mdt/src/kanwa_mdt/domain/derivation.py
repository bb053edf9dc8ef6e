"""From facts to a case: the one function that decides what the board shows of a referral."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from kanwa_mdt.domain.case import (
    ENDED,
    PRIORITIES,
    AppointmentState,
    Case,
    Decision,
    FollowUp,
    MissingItem,
    Named,
    PatientLabel,
    ProcedureState,
    Stage,
    TaskState,
)
from kanwa_mdt.domain.dossier import dossier
from kanwa_mdt.domain.fact import Fact
from kanwa_mdt.domain.measured import outcomes, series
from kanwa_mdt.domain.references import relative
from kanwa_mdt.domain.related import (
    Related,
    is_approval,
    is_coordination,
    is_follow_up,
    is_missing_information,
)
from kanwa_mdt.domain.stage import OPEN_TASK, Standing, stage_of
from kanwa_mdt.domain.wording import begin, concept_words, human_name, moment
from kanwa_shared.clinical import codes
from kanwa_shared.clinical.catalogue import procedure_of
from kanwa_shared.fhir.json_types import Tree

# Which of several appointments or procedures is "the" one: the one that is furthest.
_APPOINTMENT_RANK: Final[Mapping[str, int]] = {
    "cancelled": 0, "noshow": 1, "proposed": 2, "waitlist": 3, "pending": 4, "booked": 5, "checked-in": 6,
    "arrived": 7, "fulfilled": 8,
}  # fmt: skip
_SITTING: Final = frozenset({"pending", "booked", "checked-in", "arrived", "fulfilled"})


def case_of(request: Fact, facts: Iterable[Fact]) -> Case | None:
    """The case of a ServiceRequest, or None where there is nothing to coordinate.

    `facts` must hold what belongs to the referral and may hold anything else.
    """
    if request.content is None:
        return None
    related, tree = Related(request, facts), request.content
    coordination = _coordination(related)
    approvals = related.tasks(is_approval)
    open_approval = next((f for f in reversed(approvals) if f.tree.get("status") in OPEN_TASK), None)
    stage = stage_of(_standing(tree, coordination, open_approval, related))
    if stage is None:
        return None
    entry = procedure_of(tree.get("code"))
    observations = related.of("Observation")
    appointment = _appointment(related.based_on("Appointment"))
    mdt = open_approval or (approvals[-1] if approvals else None)
    newest = max(fact.time for fact in (request, *related.facts))
    return Case(
        service_request=request.id,
        status=str(tree.get("status", "")),
        priority=tree["priority"] if tree.get("priority") in PRIORITIES else "routine",
        stage=stage,
        patient=_patient(tree, related),
        procedure_code=entry.code if entry else "",
        procedure=entry.display if entry else concept_words(tree.get("code")) or "Procedure not named",
        body_site=", ".join(filter(None, map(concept_words, tree.get("bodySite", ())))),
        reason=_reason(tree, related),
        note=" ".join(str(note.get("text", "")) for note in tree.get("note", ())),
        requester=named(tree.get("requester")),
        authored=moment(tree.get("authoredOn")),
        due=_due(coordination),
        ended=_ended(stage, request, coordination),
        ending=_ending(stage, tree, coordination),
        updated=newest,
        coordination=_task_state(coordination),
        mdt=_task_state(mdt),
        review=mdt is not None and _business(mdt.tree) == "awaiting-review",
        decision=_decision(approvals),
        missing=tuple(_missing(f) for f in related.tasks(is_missing_information)),
        appointment=appointment,
        procedures=tuple(_procedure(f) for f in _by_progress(related.based_on("Procedure"))),
        follow_ups=_follow_ups(related),
        outcomes=outcomes(observations),
        series=series(observations, entry, _done(related)),
        dossier=dossier(related),
        site=_site(appointment),
        members=related.members,
    )


def named(reference: Tree | None) -> Named | None:
    """A Reference as somebody to show, or None."""
    if not reference:
        return None
    literal = relative(reference.get("reference"))
    display = str(reference.get("display") or reference.get("identifier", {}).get("value") or "")
    return Named(literal, display) if literal or display else None


def _standing(tree: Tree, coordination: Fact | None, approval: Fact | None, related: Related) -> Standing:
    task = coordination.tree if coordination else {}
    return Standing(
        request=str(tree.get("status", "")),
        intent=str(tree.get("intent", "")),
        coordination=str(task.get("status", "")),
        business=_business(task),
        mdt_open=approval is not None,
        appointments={str(f.tree.get("status")) for f in related.based_on("Appointment")},
        procedures={str(f.tree.get("status")) for f in related.based_on("Procedure")},
    )


def _coordination(related: Related) -> Fact | None:
    """Two sites mean two Tasks: the one that goes on counts, else the newest."""
    tasks = related.tasks(is_coordination)
    going_on = [f for f in tasks if f.tree.get("status") != "rejected"]
    return (going_on or tasks or [None])[-1]


def _patient(tree: Tree, related: Related) -> PatientLabel:
    fact = related.patient_fact()
    patient = fact.tree if fact else {}
    family, given = human_name(patient.get("name", []))
    identifiers = [str(i["value"]) for i in patient.get("identifier", ()) if "value" in i]
    return PatientLabel(
        reference=related.patient,
        family=family or str(tree.get("subject", {}).get("display", "")),
        given=given,
        birth_date=patient.get("birthDate"),
        gender=patient.get("gender"),
        identifier=identifiers[0] if identifiers else None,
        deceased=bool(patient.get("deceasedBoolean")) or "deceasedDateTime" in patient,
    )


def _reason(tree: Tree, related: Related) -> str:
    asked = [str(r.get("reference")) for r in tree.get("reasonReference", ())]
    conditions = [concept_words(f.tree.get("code")) for f in related.of("Condition") if f.reference in asked]
    said = [*map(concept_words, tree.get("reasonCode", ())), *conditions]
    return "; ".join(part for part in said if part)


def _due(coordination: Fact | None) -> datetime | None:
    if coordination is None:
        return None
    return moment(coordination.tree.get("restriction", {}).get("period", {}).get("end"))


def _ended(stage: Stage, request: Fact, coordination: Fact | None) -> datetime | None:
    if stage not in ENDED:
        return None
    return (moment(coordination.tree.get("lastModified")) if coordination else None) or request.time


def _ending(stage: Stage, tree: Tree, coordination: Fact | None) -> str:
    if stage not in ENDED:
        return ""
    task = coordination.tree if coordination else {}
    status = str(task.get("status", ""))
    if tree.get("status") in {"revoked", "entered-in-error"}:
        return "Withdrawn by the referrer"
    words = {"failed": "Not completed", "cancelled": "Cancelled", "rejected": "Declined"}.get(
        status, "Completed"
    )
    reason = concept_words(task.get("statusReason"))
    return f"{words}: {reason}" if reason and words != "Completed" else words


def _task_state(fact: Fact | None) -> TaskState | None:
    if fact is None:
        return None
    tree = fact.tree
    return TaskState(
        id=fact.id,
        version=fact.version,
        status=str(tree.get("status", "")),
        business_status=_business(tree),
        business_words=concept_words(tree.get("businessStatus")),
        reason=concept_words(tree.get("statusReason")),
    )


def _business(task: Tree) -> str:
    return next(iter(codes.codes_of(task.get("businessStatus", {}), codes.BUSINESS_STATUS)), "")


def _decision(approvals: list[Fact]) -> Decision | None:
    made = [f for f in approvals if f.tree.get("status") == "completed"]
    if not made:
        return None
    last = max(made, key=lambda f: (str(f.tree.get("lastModified", "")), f.reference))
    outputs: list[Tree] = last.tree.get("output", [])
    concepts = [o["valueCodeableConcept"] for o in outputs if "valueCodeableConcept" in o]
    decided = next((c for c in concepts if codes.codes_of(c, codes.MDT_DECISION)), None)
    if decided is None:
        return None
    code = codes.codes_of(decided, codes.MDT_DECISION)[0]
    people = [
        named(o["valueReference"]) for o in outputs if _is_output(o, "participant") and "valueReference" in o
    ]
    return Decision(
        task=last.id,
        code=code,
        display=codes.display_of(codes.MDT_DECISION, code) or concept_words(decided),
        rationale=" ".join(str(o["valueString"]) for o in outputs if "valueString" in o),
        participants=tuple(person for person in people if person is not None),
        decided=moment(last.tree.get("lastModified")),
    )


def _is_output(output: Tree, kind: str) -> bool:
    return codes.has_coding(output.get("type", {}), codes.TASK_OUTPUT, kind)


def _missing(fact: Fact) -> MissingItem:
    tree = fact.tree
    items = [
        concept_words(i["valueCodeableConcept"]) for i in tree.get("input", ()) if "valueCodeableConcept" in i
    ]
    item = items[0] if items else concept_words(tree.get("code"))
    return MissingItem(item, str(tree.get("description", "")), str(tree.get("status", "")))


def _appointment(facts: list[Fact]) -> AppointmentState | None:
    def progress(fact: Fact) -> tuple[int, str, str]:
        return (
            _APPOINTMENT_RANK.get(fact.tree.get("status", ""), -1),
            str(fact.tree.get("start", "")),
            fact.reference,
        )

    if not facts:
        return None
    best = max(facts, key=progress)
    actors = [named(p.get("actor")) for p in best.tree.get("participant", ())]
    return AppointmentState(
        id=best.id,
        status=str(best.tree.get("status", "")),
        start=best.tree.get("start"),
        end=best.tree.get("end"),
        actors=tuple(a for a in actors if a is not None and not (a.reference or "").startswith("Patient/")),
    )


def _site(appointment: AppointmentState | None) -> Named | None:
    if appointment is None or appointment.status not in _SITTING:
        return None
    return next((a for a in appointment.actors if (a.reference or "").startswith("Location/")), None)


def _procedure(fact: Fact) -> ProcedureState:
    tree = fact.tree
    period = tree.get("performedPeriod", {})
    return ProcedureState(
        id=fact.id,
        status=str(tree.get("status", "")),
        name=concept_words(tree.get("code")),
        start=period.get("start") or tree.get("performedDateTime"),
        end=period.get("end"),
        reason=concept_words(tree.get("statusReason")),
        complications=tuple(filter(None, map(concept_words, tree.get("complication", ())))),
    )


def _by_progress(facts: list[Fact]) -> list[Fact]:
    return sorted(facts, key=lambda f: (str(begin(f.tree, "performed") or ""), f.reference))


def _done(related: Related) -> datetime | None:
    """When the (last) procedure was done: the end of it, else its beginning."""
    times = [
        moment(f.tree.get("performedPeriod", {}).get("end")) or begin(f.tree, "performed")
        for f in related.based_on("Procedure")
        if f.tree.get("status") in {"completed", "in-progress", "stopped"}
    ]
    known = [time for time in times if time is not None]
    return max(known) if known else None


def _follow_ups(related: Related) -> tuple[FollowUp, ...]:
    planned = [_follow_up(f) for f in related.of("Task") if is_follow_up(f.tree)]
    return tuple(sorted(planned, key=lambda f: (f.due.timestamp() if f.due else 0.0, f.what, f.id)))


def _follow_up(fact: Fact) -> FollowUp:
    tree = fact.tree
    period = tree.get("restriction", {}).get("period", {})
    what = [
        concept_words(i["valueCodeableConcept"]) for i in tree.get("input", ()) if "valueCodeableConcept" in i
    ]
    due = moment(period.get("end") or period.get("start"))
    return FollowUp(
        fact.id, str(tree.get("status", "")), what[0] if what else str(tree.get("description", "")), due
    )
