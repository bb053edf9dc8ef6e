"""All that is known of one patient's completed procedures and of what was measured around them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from kanwa_outcomes.domain.derived_observation import is_derived
from kanwa_outcomes.domain.follow_up import is_follow_up
from kanwa_outcomes.domain.performed import Performed, read_performed, request_of
from kanwa_outcomes.domain.references import references, relative, subject_of
from kanwa_shared.clinical import codes
from kanwa_shared.clinical.catalogue import Measure
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.rest.service import Context
from kanwa_shared.store.stored import StoredResource

# Suite, department, building, hospital, group: more is a mistake, and a circle would never end.
PLACES_LIMIT: Final = 8


@dataclass(frozen=True, slots=True)
class KnownProcedure:
    """A completed procedure, and since when it is known here.

    `encounter` is the one in which it was done, `places` where: the Location, and what it is part of, if known.
    """

    performed: Performed
    known_since: datetime
    encounter: Tree | None
    places: Sequence[Tree]


@dataclass(frozen=True, slots=True)
class PatientFacts:
    """`observations` and `adverse_events` are (reference, tree); `derived` and `follow_ups` as stored."""

    procedures: Sequence[KnownProcedure]
    observations: Sequence[tuple[str, Tree]]
    adverse_events: Sequence[tuple[str, Tree]]
    derived: Sequence[StoredResource]
    follow_ups: Sequence[StoredResource]

    def derived_of(self, performed: Performed) -> dict[str, StoredResource]:
        """What was derived for a procedure, by id."""
        return {
            stored.id: stored
            for stored in self.derived
            if performed.reference in references(stored.tree.get("partOf", ()))
        }

    def rivals_of(self, performed: Performed) -> list[Performed]:
        """The procedures whose primary measure is the same, this one included."""
        known = [procedure.performed for procedure in self.procedures]
        return [p for p in known if p.entry and performed.entry and _same_measure(p, performed)]


async def gather(subject: str, context: Context) -> PatientFacts | None:
    """The facts about `Patient/{id}`, as the change set leaves them; None if there is nothing to derive.

    An empty `subject` is what a Procedure has that names its patient by identifier or in words only.
    """
    if not subject:
        return None

    def done(tree: Tree) -> bool:
        return subject_of(tree) == subject and tree["status"] == "completed"

    def outcome(tree: Tree) -> bool:
        return subject_of(tree) == subject and is_derived(tree)

    completed = await context.find("Procedure", done, subject=subject, status="completed")
    derived = await context.find("Observation", outcome, subject=subject, code=f"{codes.OUTCOME}|")
    procedures = await _known(completed, context)
    if not procedures and not derived:
        return None
    entries = [p.performed.entry for p in procedures if p.performed.entry is not None]
    return PatientFacts(
        procedures,
        await _measured(subject, {entry.primary_measure for entry in entries}, context),
        await _adverse_events(subject, context),
        derived,
        await _follow_ups(subject, context),
    )


async def _known(completed: Iterable[StoredResource], context: Context) -> list[KnownProcedure]:
    known: list[KnownProcedure] = []
    for stored in completed:
        tree = stored.tree
        performed = read_performed(stored.reference, tree, await _tree_of(request_of(tree), context))
        if performed.entry is not None or performed.request is not None:
            encounter = await _tree_of(relative(tree.get("encounter", {}).get("reference")), context)
            places = await _places(relative(tree.get("location", {}).get("reference")), context)
            known.append(KnownProcedure(performed, stored.last_updated, encounter, places))
    return known


async def _places(reference: str, context: Context) -> list[Tree]:
    """A Location and what it is part of, the innermost first."""
    places: list[Tree] = []
    while len(places) < PLACES_LIMIT:
        place = await _tree_of(reference, context)
        if place is None:
            break
        places.append(place)
        reference = relative(place.get("partOf", {}).get("reference"))
    return places


async def _tree_of(reference: str | None, context: Context) -> Tree | None:
    resource_type, _, id = (reference or "").partition("/")
    stored = await context.get(resource_type, id) if id else None
    return None if stored is None or stored.deleted else stored.tree


async def _measured(subject: str, measures: set[Measure], context: Context) -> list[tuple[str, Tree]]:
    if not measures:
        return []

    def measured(tree: Tree) -> bool:
        return subject_of(tree) == subject and any(m.measures(tree.get("code", {})) for m in measures)

    accepted = sorted({f"{c['system']}|{c['code']}" for m in measures for c in m.codings()})
    found = await context.find("Observation", measured, subject=subject, code=",".join(accepted))
    return [(stored.reference, stored.tree) for stored in found]


async def _adverse_events(subject: str, context: Context) -> list[tuple[str, Tree]]:
    found = await context.find("AdverseEvent", lambda tree: subject_of(tree) == subject, subject=subject)
    return [(stored.reference, stored.tree) for stored in found]


async def _follow_ups(subject: str, context: Context) -> list[StoredResource]:
    def asked(tree: Tree) -> bool:
        return is_follow_up(tree) and relative(tree.get("for", {}).get("reference")) == subject

    return await context.find("Task", asked, subject=subject, code=f"{codes.TASK}|follow-up")


def _same_measure(one: Performed, other: Performed) -> bool:
    return (
        one.entry is not None
        and other.entry is not None
        and one.entry.primary_measure.id == other.entry.primary_measure.id
    )
