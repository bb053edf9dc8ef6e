"""Missing information: what arrives closes the Task that asked for it; when nothing is missing, the MDT is asked."""

from uuid import NAMESPACE_URL, uuid5

from kanwa_intake.application.task_lookup import children_of
from kanwa_intake.domain.coordination import answered, awaiting, has_code, mdt_task
from kanwa_intake.domain.decision import coordination_reference
from kanwa_intake.domain.task_states import TERMINAL
from kanwa_intake.domain.triage import answers_item
from kanwa_intake.settings import intake_settings
from kanwa_shared.clinical import codes
from kanwa_shared.fhir.bundle import instant
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.messaging.envelope import Event
from kanwa_shared.rest.service import Context
from kanwa_shared.store.stored import StoredResource


async def take_observation(event: Event, context: Context) -> None:
    """EventRule of Observation: complete the Tasks that asked for it."""
    stored = context.changes.stored("Observation", event.resource_id)
    if stored is None or stored.deleted:
        return
    observation = stored.tree
    subject = observation.get("subject", {}).get("reference")
    if not subject:
        return
    code = f"{codes.TASK}|missing-information"
    asked = await context.find("Task", lambda _: False, subject=subject, code=code, status="requested")
    for task in asked:
        if answers_item(observation, task.tree):
            done = answered(task.tree, output=stored.reference, now=context.now)
            context.changes.update(task, done)
            await release_when_complete(done, context)


async def release_when_complete(child: Tree, context: Context) -> None:
    """After a missing-information Task closed: when no other is open, the referral goes to the MDT, once."""
    coordination_at = coordination_reference(child)
    if coordination_at is None or not has_code(child, codes.TASK, "missing-information"):
        return
    coordination = await context.get(*coordination_at.split("/"))
    if coordination is None or coordination.deleted or coordination.tree["status"] != "received":
        return
    for task in await children_of(coordination_at, context):
        if has_code(task.tree, codes.TASK, "missing-information") and task.tree["status"] not in TERMINAL:
            # Two answers that arrive at once must not each see the other open: both write this Task.
            touched = {**coordination.tree, "lastModified": instant(context.now)}
            context.changes.update(coordination, touched)
            return
    await ask_mdt(coordination, context)


async def ask_mdt(coordination: StoredResource, context: Context) -> None:
    """Ask the MDT about a coordination Task that has waited, unless it was asked before."""
    if await context.get("Task", mdt_task_id(coordination.id)) is not None:
        return
    task = coordination.tree
    reference = str(task["focus"]["reference"])
    service_request = await context.get(*reference.split("/"))
    if service_request is None or service_request.deleted:
        return
    context.changes.update(coordination, awaiting(task, "awaiting-mdt", now=context.now))
    create_mdt_task(reference, coordination.id, service_request.tree, context)


def create_mdt_task(reference: str, coordination_id: str, service_request: Tree, context: Context) -> None:
    """Add the MDT Task to the change set; `reference` is the ServiceRequest's."""
    task = mdt_task(
        reference,
        f"Task/{coordination_id}",
        service_request,
        owner=intake_settings(context).mdt_owner,
        now=context.now,
    )
    context.changes.create(task, id=mdt_task_id(coordination_id))


def mdt_task_id(coordination_id: str) -> str:
    """The id follows from the coordination Task's, so that asking twice makes one Task."""
    return str(uuid5(NAMESPACE_URL, f"{coordination_id}/approve"))
