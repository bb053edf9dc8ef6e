"""`Appointment/$find`: candidate times for a referral (IHE ITI Scheduling, ITI-115)."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import uuid4

from kanwa_scheduling.application.actors import trees_of
from kanwa_scheduling.application.hospital import MAX_LEVELS, Hospital, load_hospital
from kanwa_scheduling.application.parameters import FindQuery, find_query
from kanwa_scheduling.application.planned_procedure import PlannedProcedure, planned_procedure
from kanwa_scheduling.application.referrals import await_referral, coordination_tasks
from kanwa_scheduling.application.release import release_expired_holds
from kanwa_scheduling.domain.calendars import ActorCalendar, TeamRole
from kanwa_scheduling.domain.candidates import Candidate, Wish, find_candidates
from kanwa_scheduling.domain.facts import wanted_team
from kanwa_scheduling.domain.interval import Interval
from kanwa_scheduling.domain.proposal import proposed_appointment
from kanwa_scheduling.domain.references import reference_id
from kanwa_scheduling.settings import scheduling_settings
from kanwa_scheduling.store.bookings import bookings_of
from kanwa_shared.clinical.urgency import due_time
from kanwa_shared.errors import BusinessRule, Issue
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.outcome import outcome_tree
from kanwa_shared.fhir.search.dates import later, range_of
from kanwa_shared.rest.service import Context, OperationRequest, OperationResponse
from kanwa_shared.store.stored import StoredResource

REFERRAL: Final = "Parameters.parameter.where(name='based-on')"


async def find_appointments(request: OperationRequest, context: Context) -> OperationResponse:
    """A searchset of proposed Appointments, best first; `total` counts those that the answer leaves out too.

    Nothing is reserved. Raises BusinessRule if the referral is not active or names no catalogue procedure.
    """
    query = find_query(request.parameters)
    await release_expired_holds(context)
    referral = await _referral(context, query)
    procedure = planned_procedure(referral.tree, query.procedure, scheduling_settings(context))
    period = _period(context, query)
    hospital = await load_hospital(context, period)
    calendars = _chosen(hospital.calendars(procedure.code), hospital, query)
    wish = await _wish(context, referral, period, timedelta(minutes=procedure.minutes))
    candidates = find_candidates(calendars, wish)
    limit = scheduling_settings(context).candidate_limit if query.count is None else query.count
    entries = [
        _entry(_appointment(candidate, referral, procedure, hospital, period))
        for candidate in candidates[:limit]
    ]
    if not candidates:
        entries.append(_nothing_found(calendars, wish, procedure))
    return OperationResponse(200, tree=_searchset(entries, len(candidates)))


async def _referral(context: Context, query: FindQuery) -> StoredResource:
    id = query.service_request_id
    if id is None and query.identifier is not None:
        found = await context.store.find("ServiceRequest", identifier="|".join(query.identifier))
        if len(found) != 1:
            raise BusinessRule(
                f"{len(found)} ServiceRequests have the identifier {query.identifier[1]}; one is needed",
                expression="Parameters.parameter.where(name='referral-identifier')",
                code="not-found" if not found else "multiple-matches",
            )
        id = found[0].id
    assert id is not None  # noqa: S101  # find_query saw to it
    referral = await await_referral(context, id, REFERRAL)
    subject = reference_id(referral.tree["subject"].get("reference"), "Patient")
    if query.patient_id is not None and query.patient_id != subject:
        raise BusinessRule(
            f"{referral.reference} is for another patient than patient-reference says",
            expression="Parameters.parameter.where(name='patient-reference')",
        )
    return referral


def _period(context: Context, query: FindQuery) -> Interval:
    """The period asked for, from now on; its length by setting where the client leaves it open."""
    start = max(query.start or context.now, context.now)
    end = query.end or later(start, timedelta(days=scheduling_settings(context).find_days))
    return Interval(start, max(start, end))


def _chosen(calendars: Sequence[ActorCalendar], hospital: Hospital, query: FindQuery) -> list[ActorCalendar]:
    """Only the rooms and operators that the client asks for, if it does."""
    return [
        calendar
        for calendar in calendars
        if (calendar.role is not TeamRole.SUITE or _wanted_place(calendar, query))
        and (calendar.role is not TeamRole.OPERATOR or _wanted_person(calendar, hospital, query))
    ]


def _wanted_place(suite: ActorCalendar, query: FindQuery) -> bool:
    return (not query.locations or bool(query.locations & suite.places)) and (
        not query.organizations or bool(query.organizations & suite.places)
    )


def _wanted_person(operator: ActorCalendar, hospital: Hospital, query: FindQuery) -> bool:
    return not query.practitioners or bool(
        query.practitioners & {operator.reference, hospital.people.get(operator.reference)}
    )


async def _wish(context: Context, referral: StoredResource, period: Interval, duration: timedelta) -> Wish:
    settings = scheduling_settings(context)
    request = referral.tree
    tasks = await coordination_tasks(context, referral.id)
    stated = [end for task in tasks if (end := task.tree.get("restriction", {}).get("period", {}).get("end"))]
    authored = request.get("authoredOn")
    referred = range_of(authored)[0] if authored else referral.last_updated
    patient = request["subject"].get("reference", "")
    booked = await bookings_of(context.store.pool, [patient], period, now=context.now)
    return Wish(
        period=period,
        duration=duration,
        now=context.now,
        due=(
            range_of(stated[-1])[1]
            if stated
            else due_time(request.get("priority"), referred, settings.urgency_limits)
        ),
        team=wanted_team(request),
        home=await _home(context, request),
        transfer_time=timedelta(minutes=settings.transfer_minutes),
        spacing=timedelta(minutes=settings.candidate_spacing_minutes),
        patient_busy=tuple(booking.interval for booking in booked),
    )


async def _home(context: Context, service_request: Tree) -> frozenset[str]:
    """The referrer's Organization and those that it is part of; empty if the referral does not tell."""
    requester = service_request.get("requester", {}).get("reference")
    organization = reference_id(requester, "Organization")
    role = reference_id(requester, "PractitionerRole")
    if role is not None:
        tree = (await trees_of(context, [f"PractitionerRole/{role}"])).get(f"PractitionerRole/{role}", {})
        organization = reference_id(tree.get("organization", {}).get("reference"), "Organization")
    found: set[str] = set()
    for _ in range(MAX_LEVELS):
        if organization is None or f"Organization/{organization}" in found:
            break
        reference = f"Organization/{organization}"
        found.add(reference)
        tree = (await trees_of(context, [reference])).get(reference, {})
        organization = reference_id(tree.get("partOf", {}).get("reference"), "Organization")
    return frozenset(found)


def _appointment(
    candidate: Candidate,
    referral: StoredResource,
    procedure: PlannedProcedure,
    hospital: Hospital,
    period: Interval,
) -> Tree:
    actors = [actor.reference for actor in candidate.actors]
    return proposed_appointment(
        service_request_id=referral.id,
        subject=referral.tree["subject"],
        concept=procedure.concept,
        interval=candidate.interval,
        zone=hospital.zone(candidate.suite.reference),
        actors=actors,
        slot_ids=hospital.free_slots(actors, candidate.interval),
        requested=period,
        transfer=candidate.transfer,
        displays=hospital.displays,
        length_of_stay=hospital.length_of_stay(procedure.code, candidate.suite.reference),
    )


def _entry(appointment: Tree) -> Tree:
    return {"fullUrl": f"urn:uuid:{uuid4()}", "resource": appointment, "search": {"mode": "match"}}


def _nothing_found(calendars: Sequence[ActorCalendar], wish: Wish, procedure: PlannedProcedure) -> Tree:
    """An outcome entry that says what is missing: a role that nobody fills, or a common free time."""
    roles = {calendar.role for calendar in calendars}
    missing = [role for role in wish.team if role not in roles]
    reason = (
        f"no Schedule offers {', '.join(missing)} for {procedure.code}"
        if missing
        else f"no {procedure.minutes} minutes when suite and team are free together; ask for a longer period"
    )
    return {
        "resource": outcome_tree([Issue("informational", reason, severity="information")]),
        "search": {"mode": "outcome"},
    }


def _searchset(entries: list[Tree], total: int) -> Tree:
    return {
        "resourceType": "Bundle",
        "id": str(uuid4()),
        "type": "searchset",
        "total": total,
        "entry": entries,
    }
