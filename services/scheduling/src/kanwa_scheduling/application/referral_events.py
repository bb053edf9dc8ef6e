"""What scheduling does when a referral or its coordination Task ends elsewhere."""

from typing import Final

from kanwa_scheduling.application.prepare_procedure import open_procedure
from kanwa_scheduling.application.referrals import ACCEPTED, CLOSED, coordination_tasks
from kanwa_scheduling.application.release import end_appointment
from kanwa_scheduling.domain.appointment import TRANSITIONS, AppointmentCommand, AppointmentStatus
from kanwa_scheduling.domain.procedure import ProcedureStatus
from kanwa_scheduling.domain.proposal import ended_procedure
from kanwa_scheduling.domain.reasons import REFERRAL_ENDED
from kanwa_scheduling.domain.references import reference_id
from kanwa_scheduling.store.bookings import active_appointment
from kanwa_shared.fhir.json_text import parse
from kanwa_shared.messaging.envelope import Event
from kanwa_shared.rest.service import Context

#: A referral in one of these is not to be done any more.
ENDED: Final = frozenset({"revoked", "entered-in-error"})


async def release_ended_referral(event: Event, context: Context) -> None:
    """A referral was revoked or deleted: free its time and call its Procedure off, with the reason."""
    if event.body is None or parse(event.body).get("status") in ENDED:
        await _release(context, event.resource_id)


async def release_closed_task(event: Event, context: Context) -> None:
    """The coordination Task was rejected, cancelled or failed, and no other is accepted: free the time."""
    task = parse(event.body) if event.body is not None else {}
    codes = {coding.get("code") for coding in task.get("code", {}).get("coding", ())}
    referral = reference_id(task.get("focus", {}).get("reference"), "ServiceRequest")
    if "fulfill" not in codes or referral is None or task["status"] not in CLOSED - {"completed"}:
        return
    others = [t for t in await coordination_tasks(context, referral) if t.id != event.resource_id]
    if not any(other.tree["status"] in ACCEPTED for other in others):
        await _release(context, referral)


async def _release(context: Context, service_request_id: str) -> None:
    appointment_id = await active_appointment(context.store.pool, service_request_id)
    appointment = await context.store.get("Appointment", appointment_id) if appointment_id else None
    if appointment is not None and not appointment.deleted:
        status = AppointmentStatus(appointment.tree["status"])
        # Who has checked in is being treated; the suite ends that, not a message from elsewhere.
        if (status, AppointmentCommand.CANCEL) in TRANSITIONS:
            await end_appointment(context, appointment, AppointmentStatus.CANCELLED, REFERRAL_ENDED)
    procedure = await open_procedure(context, service_request_id)
    if procedure is not None and procedure.tree["status"] == ProcedureStatus.PREPARATION:
        context.changes.update(procedure, ended_procedure(procedure.tree, REFERRAL_ENDED))
