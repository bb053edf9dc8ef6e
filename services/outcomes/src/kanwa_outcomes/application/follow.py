"""What happened elsewhere or was recorded here, and what it changes."""

from functools import cache

from kanwa_outcomes.application.refresh import refresh
from kanwa_outcomes.domain.closure import closes_at
from kanwa_outcomes.domain.derived_observation import is_derived
from kanwa_outcomes.domain.follow_up import called_off, is_follow_up, planned_tasks
from kanwa_outcomes.domain.performed import Performed, read_performed, request_of
from kanwa_outcomes.domain.references import relative, subject_of
from kanwa_outcomes.domain.summary import is_summary, summary_id
from kanwa_outcomes.settings import outcomes_settings
from kanwa_outcomes.store.awaiting_closure import await_closure, closed, overdue
from kanwa_shared.clinical import codes
from kanwa_shared.clinical.catalogue import Measure, catalogue
from kanwa_shared.errors import Gone, NotFound
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.messaging.envelope import Event
from kanwa_shared.rest.service import Context
from kanwa_shared.store.stored import StoredResource

_CLOSED_TASK = frozenset({"rejected", "cancelled", "failed", "completed", "entered-in-error"})


async def follow_procedure(event: Event, context: Context) -> None:
    """EventRule of Procedure: completed, its follow-up is planned; entered in error, all of it is taken back."""
    stored = context.changes.stored("Procedure", event.resource_id)
    if stored is None or stored.deleted:
        return
    procedure = stored.tree
    if procedure["status"] == "completed":
        await _plan(stored, context)
    elif procedure["status"] == "entered-in-error":
        await _take_back(stored, procedure, context)
    else:
        return
    await refresh(subject_of(procedure), context)


async def follow_observation(event: Event, context: Context) -> None:
    """EventRule of Observation (own): a new, amended or withdrawn value changes what is derived from it.

    What was derived is looked at again too: two values that arrive at once may each have been unseen by the
    other's derivation, and the one that was written last is followed by this event, which sees both.
    """
    subjects = {subject_of(tree) for tree in await _versions(event, context) if _concerns(tree)}
    for subject in sorted(subjects - {""}):
        await refresh(subject, context)


async def follow_request(event: Event, context: Context) -> None:
    """EventRule of ServiceRequest: it may arrive after the procedure that was done for it."""
    for procedure, _ in await _done_for(f"ServiceRequest/{event.resource_id}", context):
        await _plan(procedure, context)
        await refresh(subject_of(procedure.tree), context)


async def follow_task(event: Event, context: Context) -> None:
    """EventRule of Task: a follow-up that was planned here may be answered already.

    A coordination Task tells that a procedure outside the catalogue was done for a referral.
    """
    stored = context.changes.stored("Task", event.resource_id)
    if stored is None or stored.deleted or stored.tree["status"] in _CLOSED_TASK:
        return
    task = stored.tree
    if is_follow_up(task):
        procedure = await context.get(*_key(task))
        if procedure is not None and not procedure.deleted and procedure.tree["status"] == "entered-in-error":
            _call_off(stored, context)
            return
        await refresh(relative(task.get("for", {}).get("reference")), context)
    elif codes.has_coding(task.get("code", {}), codes.TASK_CODE, "fulfill"):
        for procedure, performed in await _done_for(
            relative(task.get("focus", {}).get("reference")), context
        ):
            if performed.entry is None:
                await refresh(subject_of(procedure.tree), context)


def _key(task: Tree) -> tuple[str, str]:
    """Type and id of the Procedure that a follow-up Task is about."""
    return "Procedure", relative(task.get("focus", {}).get("reference")).rpartition("/")[2]


async def follow_document(event: Event, context: Context) -> None:
    """EventRule of DocumentReference: a summary that arrived may tell less than is known by now."""
    stored = context.changes.stored("DocumentReference", event.resource_id)
    if stored is not None and not stored.deleted and is_summary(stored.tree):
        await refresh(subject_of(stored.tree), context)


async def follow_patient_fact(event: Event, context: Context) -> None:
    """EventRule of AdverseEvent (own) and Encounter: they stand in the summary."""
    stored = await context.get(event.resource_type, event.resource_id)
    if stored is not None and not stored.deleted:
        await refresh(subject_of(stored.tree), context)


async def close_overdue(context: Context) -> None:
    """Periodic: close procedures whose primary measure did not come within its window."""
    subjects: set[str] = set()
    for procedure in await overdue(context):
        if procedure.tree["status"] == "completed":
            subjects.add(subject_of(procedure.tree))
        else:
            closed(procedure.id, context)
    for subject in sorted(subjects - {""}):
        await refresh(subject, context)


async def _done_for(request: str, context: Context) -> list[tuple[StoredResource, Performed]]:
    """The completed procedures that were done for `ServiceRequest/{id}`."""

    def done(tree: Tree) -> bool:
        return tree["status"] == "completed" and request_of(tree) == request

    if not request.startswith("ServiceRequest/"):
        return []
    found = await context.find("Procedure", done, based_on=request, status="completed")
    return [(stored, await _performed(stored, context)) for stored in found]


async def _performed(stored: StoredResource, context: Context) -> Performed:
    procedure = stored.tree
    request = request_of(procedure)
    known = await context.get(*request.split("/")) if request else None
    service_request = known.tree if known is not None and not known.deleted else None
    return read_performed(stored.reference, procedure, service_request)


async def _plan(stored: StoredResource, context: Context) -> None:
    performed = await _performed(stored, context)
    for id, task in planned_tasks(performed, now=context.now):
        if await context.get("Task", id) is None:
            context.changes.hand_over(task, id=id)
    if performed.entry is not None and performed.request is not None:
        patience = outcomes_settings(context).closing_patience
        await_closure(performed.id, closes_at(performed, context.now, patience), context)


async def _take_back(stored: StoredResource, procedure: Tree, context: Context) -> None:
    """Nothing was done: open follow-up Tasks are called off and a summary that was sent no longer holds."""
    performed = read_performed(stored.reference, procedure, None)
    closed(stored.id, context)

    def asked(tree: Tree) -> bool:
        return is_follow_up(tree) and tree.get("focus", {}).get("reference") == stored.reference

    for task in await context.find("Task", asked, focus=stored.reference, code=f"{codes.TASK}|follow-up"):
        _call_off(task, context)
    await _withdraw_summary(performed, context)


def _call_off(task: StoredResource, context: Context) -> None:
    if task.tree["status"] not in _CLOSED_TASK:
        after = called_off(task.tree, now=context.now)
        context.changes.hand_over(after, id=task.id, interaction="update", base=task)


async def _withdraw_summary(performed: Performed, context: Context) -> None:
    summary = await context.get("DocumentReference", summary_id(performed))
    if summary is not None and not summary.deleted and summary.tree["status"] == "current":
        after = {**summary.tree, "status": "entered-in-error"}
        context.changes.hand_over(after, id=summary.id, interaction="update")


async def _versions(event: Event, context: Context) -> list[Tree]:
    """The Observation as it is and as it was before this event."""
    stored = await context.get("Observation", event.resource_id)
    trees = [stored.tree] if stored is not None and not stored.deleted else []
    if event.version > 1:
        try:
            before = await context.store.read_version("Observation", event.resource_id, event.version - 1)
        except (NotFound, Gone):
            return trees
        trees.append(before.tree)
    return trees


def _concerns(observation: Tree) -> bool:
    return is_derived(observation) or any(
        m.measures(observation.get("code", {})) for m in _primary_measures()
    )


@cache
def _primary_measures() -> tuple[Measure, ...]:
    return tuple({entry.primary_measure.id: entry.primary_measure for entry in catalogue().values()}.values())
