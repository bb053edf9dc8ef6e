"""Rules for Procedures, and what a Procedure's progress does to its Appointment."""

from kanwa_scheduling.application.prepare_procedure import open_procedure
from kanwa_scheduling.application.referrals import await_referral, check_active, known_referral
from kanwa_scheduling.application.release import end_appointment, is_under_way
from kanwa_scheduling.domain.appointment import HOLDING, AppointmentStatus
from kanwa_scheduling.domain.facts import performed_end, procedure_code, referral_ids
from kanwa_scheduling.domain.following import appointment_after
from kanwa_scheduling.domain.procedure import OPEN, ProcedureStatus, check_change, missing_content
from kanwa_scheduling.domain.reasons import PROCEDURE_NOT_DONE
from kanwa_scheduling.store.bookings import active_appointment
from kanwa_shared.errors import BusinessRule, Conflict
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.rest.service import Context, WriteRequest
from kanwa_shared.store.stored import StoredResource


async def keep_life_cycle(request: WriteRequest, context: Context) -> None:
    """Refuse what the referral loop forbids. Raises BusinessRule, or Conflict for a second Procedure.

    A Procedure of the loop has a code of the IR catalogue or is based on a referral known here. All others
    are dossier: what was done elsewhere or before, which nobody here can correct.
    """
    if request.tree is None or request.promised:
        return
    before = request.current.tree if request.current is not None else None
    if before is not None:
        check_change(before["status"], request.tree["status"])
    referrals = [
        r for id in referral_ids(request.tree) if (r := await known_referral(context, id)) is not None
    ]
    if before is None:
        await _check_creation(request, context, request.tree, referrals)
    if referrals or _is_of_catalogue(request.tree):
        issues = missing_content(request.tree)
        if issues:
            raise BusinessRule(issues)


async def move_appointment(request: WriteRequest, context: Context) -> None:
    """Let the referral's Appointment follow: arrived, fulfilled, cancelled or a no-show; its time with it."""
    if request.tree is None:
        return
    before = request.current.tree["status"] if request.current is not None else None
    if request.tree["status"] == before:
        return
    for referral_id in referral_ids(request.tree):
        appointment_id = await active_appointment(context.store.pool, referral_id)
        appointment = await context.get("Appointment", appointment_id) if appointment_id else None
        if appointment is not None and not appointment.deleted and is_under_way(appointment.tree):
            await _follow(context, appointment, request.tree)


async def _check_creation(
    request: WriteRequest, context: Context, procedure: Tree, referrals: list[StoredResource]
) -> None:
    if _is_of_catalogue(procedure) and not referrals:
        ids = referral_ids(procedure)
        if not ids:
            raise BusinessRule(
                "an IR procedure is done for a referral: give basedOn with an active ServiceRequest",
                expression="Procedure.basedOn",
            )
        referrals.append(await await_referral(context, ids[0], "Procedure.basedOn"))
    for referral in referrals:
        if not (_is_of_catalogue(procedure) or _is_of_catalogue(referral.tree)):
            continue
        check_active(referral.tree, referral.id, "Procedure.basedOn")
        other = await open_procedure(context, referral.id, other_than=request.id)
        if procedure["status"] in OPEN and other is not None:
            raise Conflict(
                f"{referral.reference} has {other.reference}, {other.tree['status']}, already; update that",
                expression="Procedure.basedOn",
                code="duplicate",
            )


async def _follow(context: Context, appointment: StoredResource, procedure: Tree) -> None:
    before = AppointmentStatus(appointment.tree["status"])
    status = ProcedureStatus(procedure["status"])
    after = appointment_after(before, status, procedure.get("statusReason"))
    if after == before:
        return
    if after in HOLDING:
        context.changes.update(appointment, {**appointment.tree, "status": after.value})
        return
    reason = None
    if after is not AppointmentStatus.FULFILLED:
        reason = procedure.get("statusReason") or PROCEDURE_NOT_DONE
    await end_appointment(context, appointment, after, reason, ended_at=performed_end(procedure))


def _is_of_catalogue(resource: Tree) -> bool:
    return procedure_code([resource.get("code", {})]) is not None
