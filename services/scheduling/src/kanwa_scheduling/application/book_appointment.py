"""`Appointment/$hold` and `$book` (IHE ITI Scheduling, ITI-116 and ITI-117): the loser of a race gets 409."""

from datetime import timedelta
from typing import Final
from uuid import uuid4

from kanwa_scheduling.application.actors import resolve_actors
from kanwa_scheduling.application.conflicts import (
    bookings_in_the_way,
    referral_has_another,
    slots_in_the_way,
    taken,
)
from kanwa_scheduling.application.hospital import load_hospital
from kanwa_scheduling.application.parameters import BookingQuery, booking_query
from kanwa_scheduling.application.planned_procedure import planned_procedure
from kanwa_scheduling.application.prepare_procedure import prepare_procedure
from kanwa_scheduling.application.referrals import await_acceptance, await_referral
from kanwa_scheduling.application.release import release_expired_holds
from kanwa_scheduling.application.take_time import take_time
from kanwa_scheduling.application.team_check import check_team
from kanwa_scheduling.domain.appointment import AppointmentStatus
from kanwa_scheduling.domain.booking import busy_status, exclusive_actors
from kanwa_scheduling.domain.facts import interval_of, procedure_code, referral_ids, wanted_team
from kanwa_scheduling.domain.interval import Interval
from kanwa_scheduling.domain.proposal import booked_appointment, held_appointment
from kanwa_scheduling.domain.reasons import words_of
from kanwa_scheduling.domain.references import relative
from kanwa_scheduling.settings import scheduling_settings
from kanwa_scheduling.store.bookings import active_appointment
from kanwa_shared.errors import BusinessRule, Conflict, Invalid, NotFound
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.validation import validate
from kanwa_shared.rest.service import Context, OperationRequest, OperationResponse
from kanwa_shared.store.stored import StoredResource

#: An emergency team may press the button when the first minutes have gone.
START_GRACE: Final = timedelta(minutes=15)


async def hold_appointment(request: OperationRequest, context: Context) -> OperationResponse:
    """Keep a proposed Appointment's actors and Slots for a while: 201, status pending."""
    return await _settle(request, context, AppointmentStatus.PENDING)


async def book_appointment(request: OperationRequest, context: Context) -> OperationResponse:
    """Book a proposed Appointment (201) or one that is held (200), and prepare its Procedure with it."""
    return await _settle(request, context, AppointmentStatus.BOOKED)


async def _settle(
    request: OperationRequest, context: Context, status: AppointmentStatus
) -> OperationResponse:
    query = booking_query(request.parameters)
    await release_expired_holds(context)
    wanted, held = await _wanted(context, query)
    referral = await _referral(context, wanted)
    wanted = _for_patient(wanted, referral)
    interval = _interval(context, wanted)
    held = await _held(context, referral, wanted, held, status)
    id = held.id if held is not None else str(uuid4())
    await await_acceptance(context, referral, "Appointment.basedOn")
    await _check(context, id, wanted, referral, interval)
    written = await _write(context, id, held, wanted, interval, status, query.comment)
    if status is AppointmentStatus.BOOKED:
        await prepare_procedure(context, referral, written)
    return _answer(context, query, id, 200 if held is not None else 201)


async def _wanted(context: Context, query: BookingQuery) -> tuple[Tree, StoredResource | None]:
    """The Appointment that is asked for, and the stored one that it is, if it is one."""
    stored = await context.store.get("Appointment", query.appointment_id) if query.appointment_id else None
    if stored is None or stored.deleted:
        if query.appointment is None:
            raise NotFound(f"there is no Appointment/{query.appointment_id} here; pass it as appt-resource")
        if query.appointment.get("status") not in (AppointmentStatus.PROPOSED, AppointmentStatus.PENDING):
            raise BusinessRule(
                f"an Appointment that is {query.appointment.get('status')} cannot be held or booked; "
                "pass one that $find proposed",
                expression="Appointment.status",
            )
        return query.appointment, None
    tree = stored.tree
    if tree["status"] not in (
        AppointmentStatus.PROPOSED,
        AppointmentStatus.PENDING,
        AppointmentStatus.WAITLIST,
    ):
        raise Conflict(f"{stored.reference} is {tree['status']}{_why(tree)}", expression="Appointment.status")
    return tree, stored


def _why(appointment: Tree) -> str:
    text = words_of(appointment.get("cancelationReason", {}))
    return f" ({text}); ask Appointment/$find for another time" if text else ""


async def _referral(context: Context, appointment: Tree) -> StoredResource:
    ids = referral_ids(appointment)
    if len(ids) != 1:
        raise BusinessRule(
            "Appointment.basedOn must name the one ServiceRequest that is scheduled",
            expression="Appointment.basedOn",
        )
    return await await_referral(context, ids[0], "Appointment.basedOn")


def _for_patient(appointment: Tree, referral: StoredResource) -> Tree:
    """The Appointment with the referral's patient as a participant. Raises BusinessRule for another's."""
    subject = referral.tree["subject"]
    patients = [
        actor["reference"]
        for participant in appointment.get("participant", ())
        if (actor := participant.get("actor", {})).get("reference", "").find("Patient/") >= 0
    ]
    if not patients:
        patient = {"actor": subject, "required": "required", "status": "needs-action"}
        return {**appointment, "participant": [patient, *appointment.get("participant", ())]}
    if any(relative(patient) != relative(subject.get("reference")) for patient in patients):
        raise BusinessRule(
            f"{referral.reference} is for another patient than the Appointment",
            expression="Appointment.participant.actor",
        )
    return appointment


def _interval(context: Context, appointment: Tree) -> Interval:
    interval = interval_of(appointment)
    if interval is None:
        raise BusinessRule(
            "Appointment.start and end are needed, the end after the start", expression="Appointment.start"
        )
    if interval.start < context.now - START_GRACE:
        raise BusinessRule(
            "that time has passed; ask Appointment/$find for another", expression="Appointment.start"
        )
    return interval


async def _held(
    context: Context,
    referral: StoredResource,
    wanted: Tree,
    stored: StoredResource | None,
    status: AppointmentStatus,
) -> StoredResource | None:
    """The stored Appointment that is to be changed, or None if one is to be created.

    Clients book what `$find` offered as often as what `$hold` answered: the referral's own hold of the same
    time and actors is meant then. Raises Conflict for another Appointment of the referral under way.
    """
    other = await active_appointment(context.store.pool, referral.id)
    if other is None or (stored is not None and other == stored.id and status is AppointmentStatus.BOOKED):
        return stored
    active = await context.store.read("Appointment", other)
    tree = active.tree
    same = interval_of(tree) == interval_of(wanted) and exclusive_actors(tree) == exclusive_actors(wanted)
    if status is AppointmentStatus.BOOKED and tree["status"] == AppointmentStatus.PENDING and same:
        return active
    raise referral_has_another(referral.id, other)


async def _check(
    context: Context, id: str, appointment: Tree, referral: StoredResource, interval: Interval
) -> None:
    """Raise Conflict if an actor or Slot is taken, BusinessRule if the team lacks a role or skill."""
    actors = await resolve_actors(context, exclusive_actors(appointment))
    bookings = await bookings_in_the_way(context, id, actors, interval)
    slots = await slots_in_the_way(context, id, actors, interval)
    if bookings or slots:
        raise taken(bookings, slots)
    procedure = planned_procedure(
        referral.tree, procedure_code(appointment.get("serviceType", ())), scheduling_settings(context)
    )
    hospital = await load_hospital(context, interval, only=actors.taken, held_by=id)
    check_team(hospital, procedure.code, wanted_team(referral.tree), interval)


async def _write(
    context: Context,
    id: str,
    held: StoredResource | None,
    wanted: Tree,
    interval: Interval,
    status: AppointmentStatus,
    comment: str | None,
) -> Tree:
    expires_at = (
        context.now + scheduling_settings(context).hold_time if status is AppointmentStatus.PENDING else None
    )
    actors = await resolve_actors(context, exclusive_actors(wanted))
    slot_ids = await take_time(
        context,
        id,
        actors,
        interval,
        busy_status(status),
        expires_at=expires_at,
        referrals=referral_ids(wanted),
    )
    written = (
        held_appointment(wanted, slot_ids=slot_ids, expires_at=expires_at)
        if expires_at is not None
        else booked_appointment(wanted, slot_ids=slot_ids)
    )
    if comment is not None:
        written["comment"] = comment
    faults = [issue for issue in validate({**written, "id": id}) if issue.severity in {"error", "fatal"}]
    if faults:
        raise Invalid(faults)
    if held is None:
        context.changes.create(written, id=id)
    else:
        context.changes.update(held, written)
    return written


def _answer(context: Context, query: BookingQuery, id: str, status: int) -> OperationResponse:
    """The Appointment itself, or the Bundle that IHE ITI Scheduling defines for its own parameter names."""
    if query.answer == "appointment":
        return OperationResponse(status, resource=("Appointment", id))
    written = context.changes.stored("Appointment", id)
    assert written is not None  # noqa: S101  # _write put it there
    entry = {"resource": written.tree, "search": {"mode": "match"}}
    bundle = {"resourceType": "Bundle", "id": str(uuid4()), "type": "searchset", "total": 1, "entry": [entry]}
    return OperationResponse(status, tree=bundle)
