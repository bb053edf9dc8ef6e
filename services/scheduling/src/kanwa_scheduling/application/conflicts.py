"""Why a time cannot be had: the Appointments and Slots in the way, named so that a client can act."""

from collections.abc import Iterable, Sequence

from kanwa_scheduling.application.actors import Actors, resolve_actors, schedules_of
from kanwa_scheduling.domain.booking import blocking_slots, exclusive_actors, holds_actors
from kanwa_scheduling.domain.calendars import SlotWindow
from kanwa_scheduling.domain.facts import interval_of, referral_ids
from kanwa_scheduling.domain.interval import Interval
from kanwa_scheduling.domain.proposal import written
from kanwa_scheduling.store import slot_windows
from kanwa_scheduling.store.bookings import (
    REFERRAL_CONSTRAINT,
    Booking,
    active_appointment,
    bookings_of,
)
from kanwa_shared.errors import Conflict, Issue, VersionConflict
from kanwa_shared.rest.service import Context
from kanwa_shared.store.commit import ConstraintBroken

FIND_AGAIN = "; ask Appointment/$find for another time"


async def bookings_in_the_way(
    context: Context, appointment_id: str, actors: Actors, interval: Interval
) -> list[Booking]:
    """Appointments of others that keep one of the actors at that time."""
    return await bookings_of(
        context.store.pool, actors.taken, interval, now=context.now, except_for=appointment_id
    )


async def slots_in_the_way(
    context: Context, appointment_id: str, actors: Actors, interval: Interval
) -> list[SlotWindow]:
    """Slots of the actors that are not free at that time and not kept for this Appointment."""
    schedules = await schedules_of(context, actors.known_as)
    windows = await slot_windows.overlapping(context.store.pool, [s.id for s in schedules], interval)
    return blocking_slots(windows, interval, appointment_id)


def taken(bookings: Sequence[Booking], slots: Sequence[SlotWindow]) -> Conflict:
    """409 that names every Appointment and Slot in the way."""
    return Conflict([*_booking_issues(bookings), *(_slot_issue(slot) for slot in slots)])


def referral_has_another(service_request_id: str, appointment_id: str) -> Conflict:
    """409: the referral has an Appointment that is under way."""
    return Conflict(
        f"ServiceRequest/{service_request_id} has Appointment/{appointment_id} already; cancel that first",
        expression="Appointment.basedOn",
    )


async def explain_conflict(broken: ConstraintBroken, context: Context) -> Exception:
    """A rival committed between the check and the commit: say who, as the check would have done.

    A hand-over is tried again instead: its rule then sees the rival and records it.
    """
    if context.changes.received is not None:
        return VersionConflict(f"lost a race on {broken.constraint}; the hand-over is repeated")
    for id, appointment in context.changes.pending("Appointment"):
        interval = interval_of(appointment)
        if interval is None or not holds_actors(appointment["status"], interval.end, context.now):
            continue
        if broken.constraint == REFERRAL_CONSTRAINT:
            for referral in referral_ids(appointment):
                other = await active_appointment(context.store.pool, referral)
                if other not in (None, id):
                    return referral_has_another(referral, other)
        actors = await resolve_actors(context, exclusive_actors(appointment))
        bookings = await bookings_in_the_way(context, id, actors, interval)
        if bookings:
            return taken(bookings, await slots_in_the_way(context, id, actors, interval))
    return Conflict("that time was just taken" + FIND_AGAIN, expression="Appointment.start")


def _booking_issues(bookings: Iterable[Booking]) -> Iterable[Issue]:
    return (
        Issue(
            "conflict",
            f"{booking.actor} is taken from {_text(booking.interval)} by Appointment/{booking.appointment_id}"
            + FIND_AGAIN,
            ("Appointment.participant.actor",),
        )
        for booking in bookings
    )


def _slot_issue(slot: SlotWindow) -> Issue:
    keeper = f" for Appointment/{slot.booked_for}" if slot.booked_for else ""
    return Issue(
        "conflict",
        f"Slot/{slot.id} of Schedule/{slot.schedule_id} is {slot.status}{keeper} from {_text(slot.interval)}"
        + FIND_AGAIN,
        ("Appointment.slot",),
    )


def _text(interval: Interval) -> str:
    zone = interval.start.tzinfo
    assert zone is not None  # noqa: S101  # intervals are aware
    return f"{written(interval.start, zone)} to {written(interval.end, zone)}"
