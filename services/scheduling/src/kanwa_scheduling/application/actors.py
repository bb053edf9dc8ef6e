"""Who an actor is: a person may have several PractitionerRoles, and still cannot be in two rooms at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kanwa_scheduling.domain.calendars import ScheduleFacts
from kanwa_scheduling.domain.facts import schedule_facts
from kanwa_scheduling.domain.references import reference_id
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.rest.service import Context


@dataclass(frozen=True, slots=True)
class Actors:
    """References, sorted: `taken` are the participants and the people behind their roles; `known_as` adds the
    other roles of those people, whose Schedules must show the time as taken too."""

    taken: tuple[str, ...]
    known_as: tuple[str, ...]


async def resolve_actors(context: Context, references: Iterable[str]) -> Actors:
    """The people behind PractitionerRoles, as far as their replicas are here."""
    named = set(references)
    people = named | {p for p in (await people_behind(context, named)).values() if p}
    roles: set[str] = set()
    for person in (reference for reference in people if reference.startswith("Practitioner/")):
        found = await context.store.find("PractitionerRole", practitioner=person)
        roles.update(role.reference for role in found)
    return Actors(tuple(sorted(people)), tuple(sorted(people | roles)))


async def people_behind(context: Context, references: Iterable[str]) -> dict[str, str | None]:
    """`Practitioner/…` by PractitionerRole reference; None where the role or its person is not known here."""
    roles = [reference for reference in references if reference.startswith("PractitionerRole/")]
    trees = await trees_of(context, roles)
    return {role: _person(trees.get(role)) for role in roles}


async def trees_of(context: Context, references: Iterable[str]) -> dict[str, Tree]:
    """Current trees by reference; what is unknown or deleted is absent."""
    keys = [(kind, id) for kind, _, id in (reference.partition("/") for reference in set(references)) if id]
    found = await context.store.get_many(keys)
    return {resource.reference: resource.tree for resource in found.values() if not resource.deleted}


async def schedules_of(context: Context, references: Sequence[str]) -> list[ScheduleFacts]:
    """Schedules whose calendar is that of one of these actors."""
    if not references:
        return []
    stored = await context.store.find("Schedule", actor=",".join(references))
    facts = [schedule_facts(schedule.tree, schedule.id) for schedule in stored]
    return [schedule for schedule in facts if set(schedule.subjects) & set(references)]


def _person(role: Tree | None) -> str | None:
    id = reference_id((role or {}).get("practitioner", {}).get("reference"), "Practitioner")
    return f"Practitioner/{id}" if id else None
