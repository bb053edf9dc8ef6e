"""Rules for Appointments that clients write themselves: the same as for `$hold` and `$book`."""

from datetime import datetime

from kanwa_scheduling.application.actors import resolve_actors
from kanwa_scheduling.application.conflicts import (
    bookings_in_the_way,
    referral_has_another,
    slots_in_the_way,
    taken,
)
from kanwa_scheduling.application.prepare_procedure import leave_without_place, prepare_procedure
from kanwa_scheduling.application.promises import record_overlap
from kanwa_scheduling.application.referrals import await_acceptance, check_active, known_referral
from kanwa_scheduling.application.release import is_under_way, release_expired_holds, settle_end
from kanwa_scheduling.application.take_time import give_back, take_time
from kanwa_scheduling.domain.appointment import WITH_CANCELATION_REASON, AppointmentStatus, check_change
from kanwa_scheduling.domain.booking import busy_status, exclusive_actors, holds_actors
from kanwa_scheduling.domain.facts import interval_of, referral_ids
from kanwa_scheduling.domain.proposal import hold_expiry
from kanwa_scheduling.settings import scheduling_settings
from kanwa_scheduling.store.bookings import active_appointment
from kanwa_shared.errors import BusinessRule, Conflict
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.rest.service import Context, WriteRequest
from kanwa_shared.store.stored import StoredResource


async def keep_calendar(request: WriteRequest, context: Context) -> None:
    """Take or give back the time that the Appointment's new state needs or no longer needs.

    Raises BusinessRule for a change of status that is not in the table or an end without its reason, Conflict
    if an actor or the referral is taken. A promised Appointment that overlaps is recorded and takes no time.
    """
    before = request.current.tree if request.current is not None else None
    if request.tree is None:
        await give_back(context, request.id)
        await _leave_procedures(context, before)
        return
    if before is not None and not request.promised:
        _check_step(before, request.tree)
    interval = interval_of(request.tree)
    if holds_actors(request.tree["status"], interval.end if interval else None, context.now):
        await _take(request, context, request.tree)
    elif before is not None and is_under_way(before):
        await settle_end(context, request.id, request.tree)
        if request.tree["status"] != AppointmentStatus.FULFILLED:
            await _leave_procedures(context, before)


def _check_step(before: Tree, after: Tree) -> None:
    check_change(before["status"], after["status"])
    ended = after["status"] in WITH_CANCELATION_REASON and before["status"] != after["status"]
    if ended and not after.get("cancelationReason"):
        raise BusinessRule(
            f"an Appointment that becomes {after['status']} says why: give cancelationReason",
            expression="Appointment.cancelationReason",
        )


async def _take(request: WriteRequest, context: Context, appointment: Tree) -> None:
    interval = interval_of(appointment)
    assert interval is not None  # noqa: S101  # holds_actors saw its end
    await release_expired_holds(context)
    referrals = await _referrals(request, context, appointment)
    actors = await resolve_actors(context, exclusive_actors(appointment))
    bookings = await bookings_in_the_way(context, request.id, actors, interval)
    slots = [
        s
        for s in await slots_in_the_way(context, request.id, actors, interval)
        if _forbids(s.status, s.booked_for)
    ]
    if bookings or slots:
        if not request.promised:
            raise taken(bookings, slots)
        record_overlap(context, request.id, appointment, [booking.appointment_id for booking in bookings])
        await give_back(context, request.id)
        return
    await take_time(
        context,
        request.id,
        actors,
        interval,
        busy_status(appointment["status"]),
        expires_at=_expiry(context, appointment),
        referrals=[referral.id for referral in referrals],
    )
    if appointment["status"] == AppointmentStatus.BOOKED:
        for referral in referrals:
            await prepare_procedure(context, referral, appointment)


def _forbids(status: str, booked_for: str | None) -> bool:
    """Whether a Slot stops an Appointment that a client writes itself.

    A Slot that the client marked busy may be this very Appointment's; one closed for everybody is not.
    """
    return status == "busy-unavailable" or booked_for is not None


async def _referrals(request: WriteRequest, context: Context, appointment: Tree) -> list[StoredResource]:
    """The referrals known here, each active, accepted and without another Appointment under way.

    One that is not known was made elsewhere: it has no Task here and cannot be checked.
    """
    known = [r for id in referral_ids(appointment) if (r := await known_referral(context, id)) is not None]
    if request.promised:
        return [r for r in known if await _other(context, r.id, request.id) is None]
    unchanged = request.current is not None and is_under_way(request.current.tree)
    for referral in known:
        other = await _other(context, referral.id, request.id)
        if other is not None:
            raise referral_has_another(referral.id, other)
        if not unchanged:
            check_active(referral.tree, referral.id, "Appointment.basedOn")
            await await_acceptance(context, referral, "Appointment.basedOn")
    return known


async def _other(context: Context, service_request_id: str, appointment_id: str) -> str | None:
    active = await active_appointment(context.store.pool, service_request_id)
    return None if active == appointment_id else active


def _expiry(context: Context, appointment: Tree) -> datetime | None:
    """When a hold ends: as the Appointment says, else after the usual time. Raises Conflict if it has."""
    if appointment["status"] != AppointmentStatus.PENDING:
        return None
    stated = hold_expiry(appointment)
    if stated is not None and stated <= context.now:
        raise Conflict("the hold ran out before it was written", expression="Appointment.extension")
    return stated or context.now + scheduling_settings(context).hold_time


async def _leave_procedures(context: Context, before: Tree | None) -> None:
    for id in referral_ids(before or {}):
        await leave_without_place(context, id)
