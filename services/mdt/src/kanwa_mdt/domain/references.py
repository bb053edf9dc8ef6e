"""Which resources a resource points to."""

import re
from collections.abc import Iterator
from typing import Any, Final, cast

from kanwa_shared.fhir.json_types import Tree

_RELATIVE: Final = re.compile(r"([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")
_PATIENT_MEMBERS: Final = ("subject", "patient", "for", "beneficiary", "individual")


def relative(reference: object) -> str | None:
    """`Type/id` of a reference to a resource of this deployment, without version; None for any other."""
    match = _RELATIVE.fullmatch(reference) if isinstance(reference, str) else None
    return match[1] if match else None


def target(holder: Tree, member: str) -> str | None:
    """`Type/id` that the Reference in `holder[member]` points to, or None."""
    return relative(holder.get(member, {}).get("reference"))


def targets(holder: Tree, member: str) -> list[str]:
    """`Type/id` of each Reference in the list `holder[member]`."""
    found = (relative(reference.get("reference")) for reference in holder.get(member, ()))
    return [reference for reference in found if reference is not None]


def links(tree: Tree) -> frozenset[str]:
    """Every resource that the tree refers to, at whatever depth."""
    return frozenset(_links(tree))


def patient_of(tree: Tree) -> str | None:
    """`Patient/{id}` that the resource is about; a Patient is about itself."""
    if tree.get("resourceType") == "Patient":
        return f"Patient/{tree['id']}" if "id" in tree else None
    named = [reference for reference in map(_reference, (tree.get(m) for m in _PATIENT_MEMBERS)) if reference]
    actors = [_reference(participant.get("actor")) for participant in _participants(tree)]
    return next((r for r in (*named, *actors) if r is not None and r.startswith("Patient/")), None)


def _participants(tree: Tree) -> list[Tree]:
    return tree.get("participant", []) if tree.get("resourceType") == "Appointment" else []


def _reference(value: Any) -> str | None:
    return relative(cast("Tree", value).get("reference")) if isinstance(value, dict) else None


def _links(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, member in cast("Tree", value).items():
            found = relative(member) if name == "reference" else None
            if found is not None:
                yield found
            yield from _links(member)
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from _links(item)
