"""The coordination Task follows what scheduling and outcomes report, until the loop is closed."""

from collections.abc import Mapping, Sequence

from kanwa_intake.application.task_lookup import newest_coordination
from kanwa_intake.domain.coordination import has_code
from kanwa_intake.domain.progress import Facts, advance
from kanwa_intake.store.loop_facts import naming
from kanwa_shared.clinical import codes
from kanwa_shared.fhir.bundle import instant
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.messaging.envelope import Event
from kanwa_shared.rest.service import Context
from kanwa_shared.store.stored import StoredResource


async def follow_appointment_or_procedure(event: Event, context: Context) -> None:
    """EventRule: derive the Task anew from all appointments and procedures of the referral."""
    stored = context.changes.stored(event.resource_type, event.resource_id)
    if stored is None or stored.deleted:
        return
    for reference in _based_on(stored.tree):
        await advance_referral(reference, context)


async def follow_summary(event: Event, context: Context) -> None:
    """EventRule of DocumentReference: the summary for the referrer closes the loop."""
    stored = await context.get("DocumentReference", event.resource_id)
    if stored is None or stored.deleted or not _is_summary(stored.tree):
        return
    for reference in _related_requests(stored.tree):
        await advance_referral(reference, context)


async def follow_task(event: Event, context: Context) -> None:
    """EventRule of Task: look again after each change of a coordination Task.

    Two facts that arrive at once may each be unseen by the other's derivation; the one that is committed last
    is followed by this event, which sees both.
    """
    stored = await context.get("Task", event.resource_id)
    if stored is None or stored.deleted or not has_code(stored.tree, codes.TASK_CODE, "fulfill"):
        return
    reference = str(stored.tree.get("focus", {}).get("reference", ""))
    if reference.startswith("ServiceRequest/"):
        await advance_referral(reference, context)


async def advance_referral(reference: str, context: Context) -> None:
    """Bring the coordination Task of `ServiceRequest/{id}`, and with its end the request, up to the facts."""
    stored = await naming(reference, context)
    coordination = newest_coordination(reference, stored.get("Task", ()), context)
    if coordination is None:
        return
    task = advance(coordination.tree, _facts(reference, stored, context), now=instant(context.now))
    if task is None:
        return
    context.changes.update(coordination, task)
    if task["status"] == "completed":
        await _complete_request(reference, context)


async def _complete_request(reference: str, context: Context) -> None:
    service_request = await context.get(*reference.split("/"))
    if (
        service_request is not None
        and not service_request.deleted
        and service_request.tree["status"] == "active"
    ):
        context.changes.update(service_request, {**service_request.tree, "status": "completed"})


def _facts(reference: str, stored: Mapping[str, Sequence[StoredResource]], context: Context) -> Facts:
    def based_on(tree: Tree) -> bool:
        return reference in _based_on(tree)

    def summarises(tree: Tree) -> bool:
        return _is_summary(tree) and reference in _related_requests(tree)

    documents = [document for document in stored.get("DocumentReference", ()) if _is_summary(document.tree)]
    return Facts(
        context.as_left("Appointment", stored.get("Appointment", ()), based_on),
        context.as_left("Procedure", stored.get("Procedure", ()), based_on),
        context.as_left("DocumentReference", documents, summarises),
    )


def _based_on(tree: Tree) -> list[str]:
    references = [str(based_on.get("reference", "")) for based_on in tree.get("basedOn", [])]
    return [reference for reference in references if reference.startswith("ServiceRequest/")]


def _is_summary(tree: Tree) -> bool:
    codings = tree.get("type", {}).get("coding", [])
    return any(
        c.get("system") == codes.DOCUMENT_TYPE and c.get("code") == "referral-summary" for c in codings
    )


def _related_requests(tree: Tree) -> list[str]:
    related = [str(r.get("reference", "")) for r in tree.get("context", {}).get("related", [])]
    return [reference for reference in related if reference.startswith("ServiceRequest/")]
