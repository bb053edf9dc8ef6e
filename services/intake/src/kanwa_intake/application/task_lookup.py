"""Finding the Tasks of a referral, as the change set leaves them."""

from collections.abc import Sequence

from kanwa_intake.domain.coordination import has_code
from kanwa_shared.clinical import codes
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.rest.service import Context
from kanwa_shared.store.stored import StoredResource


async def coordination_of(reference: str, context: Context) -> StoredResource | None:
    """The coordination Task of `ServiceRequest/{id}`; the newest, if a declined one was followed by another."""
    stored = await context.store.find("Task", focus=reference, code=f"{codes.TASK_CODE}|fulfill")
    return newest_coordination(reference, stored, context)


def newest_coordination(
    reference: str, stored: Sequence[StoredResource], context: Context
) -> StoredResource | None:
    """The same among the referral's Tasks that the store has, the oldest first."""

    def coordinates(task: Tree) -> bool:
        return has_code(task, codes.TASK_CODE, "fulfill")

    def matches(task: Tree) -> bool:
        return task.get("focus", {}).get("reference") == reference and coordinates(task)

    found = context.as_left("Task", [task for task in stored if coordinates(task.tree)], matches)
    return found[-1] if found else None


async def children_of(coordination: str, context: Context) -> list[StoredResource]:
    """Every Task that is part of `Task/{id}`."""

    def matches(task: Tree) -> bool:
        return any(part.get("reference") == coordination for part in task.get("partOf", []))

    return await context.find("Task", matches, part_of=coordination)
