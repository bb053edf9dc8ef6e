"""The Procedure that a booking prepares, and what happens to it when the booking ends."""

from kanwa_scheduling.domain.facts import referral_ids
from kanwa_scheduling.domain.procedure import OPEN, ProcedureStatus
from kanwa_scheduling.domain.proposal import prepared_procedure, procedure_id, with_place_and_team
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.rest.service import Context
from kanwa_shared.store.stored import StoredResource


async def procedures_of(context: Context, service_request_id: str) -> list[StoredResource]:
    """Procedures based on a referral, as this change set leaves them."""
    return await context.find(
        "Procedure",
        lambda tree: service_request_id in referral_ids(tree),
        based_on=f"ServiceRequest/{service_request_id}",
    )


async def open_procedure(
    context: Context, service_request_id: str, *, other_than: str | None = None
) -> StoredResource | None:
    """The referral's Procedure that has not ended, or None; `other_than` is an id that does not count."""
    procedures = await procedures_of(context, service_request_id)
    found = [p for p in procedures if p.id != other_than and p.tree["status"] in OPEN]
    return found[-1] if found else None


async def prepare_procedure(context: Context, service_request: StoredResource, appointment: Tree) -> None:
    """Create the referral's Procedure for this Appointment, or move the one that is in preparation to it.

    Its id follows from the referral, so that no retry and no second booking makes another.
    """
    procedures = await procedures_of(context, service_request.id)
    going_on = [procedure for procedure in procedures if procedure.tree["status"] in OPEN]
    if not going_on:
        id = procedure_id(service_request.id, len(procedures))
        context.changes.create(prepared_procedure(_with_id(service_request), appointment), id=id)
        return
    if going_on[-1].tree["status"] == ProcedureStatus.PREPARATION:
        _move(context, going_on[-1], appointment)


async def leave_without_place(context: Context, service_request_id: str) -> None:
    """Take room and team from a Procedure in preparation: its Appointment ended, another may be booked.

    The Procedure stays in preparation, because the referral is still to be done.
    """
    procedure = await open_procedure(context, service_request_id)
    if procedure is not None and procedure.tree["status"] == ProcedureStatus.PREPARATION:
        _move(context, procedure, None)


def _move(context: Context, procedure: StoredResource, appointment: Tree | None) -> None:
    before = procedure.tree
    moved = with_place_and_team(before, appointment)
    if moved != before:
        context.changes.update(procedure, moved)


def _with_id(service_request: StoredResource) -> Tree:
    return {**service_request.tree, "id": service_request.id}
