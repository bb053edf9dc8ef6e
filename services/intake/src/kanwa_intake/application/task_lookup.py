"""Finding the Tasks of a referral, as the change set leaves them."""

from kanwa_intake.domain.coordination import has_code
from kanwa_shared.clinical import codes
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.rest.service import Context
from kanwa_shared.store.stored import StoredResource


async def coordination_of(reference: str, context: Context) -> StoredResource | None:
    """The coordination Task of `ServiceRequest/{id}`; the newest, if a declined one was followed by another."""

    def matches(task: Tree) -> bool:
        return task.get("focus", {}).get("reference") == reference and has_code(
            task, codes.TASK_CODE, "fulfill"
        )

    found = await context.find("Task", matches, focus=reference, code=f"{codes.TASK_CODE}|fulfill")
    return found[-1] if found else None


async def children_of(coordination: str, context: Context) -> list[StoredResource]:
    """Every Task that is part of `Task/{id}`."""

    def matches(task: Tree) -> bool:
        return any(part.get("reference") == coordination for part in task.get("partOf", []))

    return await context.find("Task", matches, part_of=coordination)
