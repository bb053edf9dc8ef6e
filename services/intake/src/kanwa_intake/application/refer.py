"""A ServiceRequest arrives, changes or goes: its Tasks are written in the same commit."""

from kanwa_intake.application.information import create_mdt_task
from kanwa_intake.application.task_lookup import children_of, coordination_of
from kanwa_intake.domain import service_request_states
from kanwa_intake.domain.coordination import (
    coordination_task,
    is_emergency,
    is_referral,
    missing_information_task,
)
from kanwa_intake.domain.task_states import TERMINAL
from kanwa_intake.domain.triage import Triage, detected_issues, triage
from kanwa_intake.settings import intake_settings
from kanwa_intake.store.triage_facts import gather_facts
from kanwa_shared.errors import BusinessRule, Conflict
from kanwa_shared.fhir.bundle import instant
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.rest.service import Context, WriteRequest
from kanwa_shared.store.stored import StoredResource


async def write_service_request(request: WriteRequest, context: Context) -> None:
    """WriteRule of ServiceRequest: open, amend, revoke or refuse to lose a referral."""
    reference = f"ServiceRequest/{request.id}"
    if request.tree is None:
        await _check_deletion(reference, context)
        return
    if request.current is not None:
        service_request_states.check_change(request.current.tree["status"], request.tree["status"])
    # A first version, in which nothing can be open yet, is spared the question.
    coordination = None if request.current is None else await coordination_of(reference, context)
    if coordination is None:
        if is_referral(request.tree):
            await _open(reference, request.tree, context)
    elif request.tree["status"] in {"revoked", "entered-in-error"}:
        await _withdraw(coordination, request.tree["status"], context)


async def _open(reference: str, service_request: Tree, context: Context) -> None:
    settings = intake_settings(context)
    found = triage(service_request, await gather_facts(reference, service_request, context))
    asks_referrer = bool(found.missing) and not is_emergency(service_request)
    task = coordination_task(
        reference,
        service_request,
        waits_for="awaiting-information" if asks_referrer else "awaiting-mdt",
        owner=settings.referral_owner,
        now=context.now,
        limits=settings.urgency_limits,
    )
    id = context.changes.create(task)
    for issue in detected_issues(reference, service_request, found, now=instant(context.now)):
        context.changes.create(issue)
    if asks_referrer:
        _ask_referrer(reference, f"Task/{id}", service_request, found, context)
    else:
        create_mdt_task(reference, id, service_request, context)


def _ask_referrer(
    reference: str, coordination: str, service_request: Tree, found: Triage, context: Context
) -> None:
    for item in found.missing:
        context.changes.create(
            missing_information_task(
                reference,
                coordination,
                service_request,
                item=item.concept,
                reason=item.reason,
                now=context.now,
            )
        )


async def _withdraw(coordination: StoredResource, status: str, context: Context) -> None:
    """Cancel what was asked for; a procedure under way is stopped by its performer, not by the referrer."""
    task = coordination.tree
    if task["status"] in TERMINAL:
        return
    if task["status"] in {"in-progress", "on-hold"}:
        raise BusinessRule(
            "the procedure is under way; post a Task with code 'abort' whose focus is "
            f"{coordination.reference}, and the performer answers it",
            expression="ServiceRequest.status",
        )
    reason = {"text": "the referrer withdrew the request" if status == "revoked" else "entered in error"}
    for open_task in [coordination, *await children_of(coordination.reference, context)]:
        if open_task.tree["status"] not in TERMINAL:
            cancelled = {"status": "cancelled", "statusReason": reason, "lastModified": instant(context.now)}
            context.changes.update(open_task, {**open_task.tree, **cancelled})


async def _check_deletion(reference: str, context: Context) -> None:
    coordination = await coordination_of(reference, context)
    if coordination is not None and coordination.tree["status"] not in TERMINAL:
        raise Conflict(
            f"{reference} is an open referral; set its status to revoked or entered-in-error, then delete it"
        )
