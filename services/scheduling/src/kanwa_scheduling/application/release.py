"""Ending Appointments: holds that ran out, and bookings whose referral or procedure ended."""

from datetime import datetime

from kanwa_scheduling.application.actors import resolve_actors
from kanwa_scheduling.application.take_time import give_back, shorten
from kanwa_scheduling.domain.appointment import HOLDING, AppointmentStatus
from kanwa_scheduling.domain.booking import exclusive_actors
from kanwa_scheduling.domain.facts import interval_of
from kanwa_scheduling.domain.interval import Interval
from kanwa_scheduling.domain.proposal import ended_appointment
from kanwa_scheduling.domain.reasons import HOLD_EXPIRED
from kanwa_scheduling.store.bookings import expired_holds
from kanwa_shared.errors import VersionConflict
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.rest.service import Context
from kanwa_shared.store.changes import ChangeSet
from kanwa_shared.store.stored import StoredResource


async def release_expired_holds(context: Context) -> None:
    """Cancel every hold that ran out, each in a commit of its own, so that its time can be taken at once."""
    for appointment_id in await expired_holds(context.store.pool, context.now):
        own = Context(
            context.store,
            ChangeSet(context.now, None, context.changes.traceparent, context.changes.correlation_id),
            context.now,
            None,
            context.settings,
        )
        await _expire(own, appointment_id)
        try:
            await own.store.commit(own.changes)
        except VersionConflict:
            continue  # it was booked, cancelled or released by somebody else meanwhile


async def _expire(context: Context, appointment_id: str) -> None:
    held = await context.store.get("Appointment", appointment_id)
    if held is None or held.deleted or not is_under_way(held.tree):
        await give_back(context, appointment_id)
    elif held.tree["status"] == AppointmentStatus.PENDING:
        await end_appointment(context, held, AppointmentStatus.CANCELLED, HOLD_EXPIRED)


async def end_appointment(
    context: Context,
    appointment: StoredResource,
    status: AppointmentStatus,
    reason: Tree | None,
    *,
    ended_at: datetime | None = None,
) -> None:
    """Write the Appointment's end and give its time back, except what a fulfilled one has used."""
    ended = ended_appointment(appointment.tree, status, reason)
    context.changes.update(appointment, ended)
    await settle_end(context, appointment.id, ended, ended_at=ended_at)


async def settle_end(
    context: Context, appointment_id: str, appointment: Tree, *, ended_at: datetime | None = None
) -> None:
    """Free the time of an Appointment that ended; a fulfilled one keeps what it used until `ended_at`."""
    planned = interval_of(appointment)
    if appointment["status"] == AppointmentStatus.FULFILLED and planned is not None:
        used = Interval(planned.start, min(planned.end, ended_at or context.now))
        if used.start < used.end:
            actors = await resolve_actors(context, exclusive_actors(appointment))
            await shorten(context, appointment_id, actors, used)
            return
    await give_back(context, appointment_id)


def is_under_way(appointment: Tree) -> bool:
    """Whether the Appointment still keeps its actors by its status."""
    return appointment.get("status") in HOLDING
