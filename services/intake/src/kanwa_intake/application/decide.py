"""Changes of Tasks: the state machine, and what an MDT decision brings about."""

from kanwa_intake.application.information import release_when_complete
from kanwa_intake.application.task_lookup import children_of
from kanwa_intake.domain.coordination import mdt_task
from kanwa_intake.domain.decision import (
    care_plan,
    coordination_after,
    coordination_reference,
    is_decision_task,
    provenance,
    read_decision,
)
from kanwa_intake.domain.task_states import TERMINAL, check_change
from kanwa_intake.settings import intake_settings
from kanwa_shared.errors import BusinessRule
from kanwa_shared.fhir.bundle import instant
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.rest.service import Context, WriteRequest
from kanwa_shared.store.stored import StoredResource


async def change_task(request: WriteRequest, context: Context) -> None:
    """WriteRule of Task: an allowed change of status, and the decision that a completed MDT Task carries."""
    # A promised change comes from another service, which decided on what it knew: it stands as it is.
    if request.tree is None or request.current is None or request.promised:
        return
    before, after = request.current.tree["status"], request.tree["status"]
    check_change(before, after, has_reason="statusReason" in request.tree)
    if before == after:
        return
    if is_decision_task(request.tree) and after == "completed":
        await _decide(request, request.tree, context)
    elif after in TERMINAL:
        await release_when_complete(request.tree, context)


async def _decide(request: WriteRequest, task: Tree, context: Context) -> None:
    decision = read_decision(task)
    reference = str(task.get("focus", {}).get("reference", ""))
    service_request = await context.get(*_split(reference, "Task.focus"))
    coordination = await context.get(*_split(coordination_reference(task) or "", "Task.partOf"))
    if service_request is None or coordination is None or service_request.deleted or coordination.deleted:
        raise BusinessRule(
            "the Task's focus and partOf must name the ServiceRequest and the coordination Task it decides on",
            expression="Task.focus",
        )
    targets = [f"Task/{request.id}"]
    moved = coordination_after(coordination.tree, decision, now=instant(context.now))
    if moved is not None:
        context.changes.update(coordination, moved)
    if decision.decision == "recommended":
        plan = care_plan(service_request.tree, reference, decision, now=instant(context.now))
        targets.append(f"CarePlan/{context.changes.create(plan)}")
    if decision.decision == "deferred":
        await _ask_again(reference, coordination, service_request, context)
    context.changes.create(provenance(targets, decision, context.caller, now=instant(context.now)))


async def _ask_again(
    reference: str, coordination: StoredResource, service_request: StoredResource, context: Context
) -> None:
    """A deferred case goes to the next meeting: a new MDT Task, unless one is open already."""
    for child in await children_of(coordination.reference, context):
        if is_decision_task(child.tree) and child.tree["status"] not in TERMINAL:
            return
    owner = intake_settings(context).mdt_owner
    context.changes.create(
        mdt_task(reference, coordination.reference, service_request.tree, owner=owner, now=context.now)
    )


def _split(reference: str, expression: str) -> tuple[str, str]:
    resource_type, _, id = reference.partition("/")
    if not (resource_type and id):
        raise BusinessRule(f"'{reference}' is no reference to a resource here", expression=expression)
    return resource_type, id
