"""References between resources, as `Type/id`."""

from collections.abc import Iterable

from kanwa_shared.fhir.json_types import Tree


def relative(reference: str | None) -> str:
    """`Type/id` of a literal reference: without the base that an absolute one has, without a version."""
    return "/".join((reference or "").split("/_history/")[0].split("/")[-2:])


def references(elements: Iterable[Tree], resource_type: str | None = None) -> frozenset[str]:
    """The references of Reference elements, those to `resource_type` if one is given."""
    found = (relative(element.get("reference")) for element in elements)
    return frozenset(r for r in found if r and (resource_type is None or r.startswith(f"{resource_type}/")))


def subject_of(resource: Tree) -> str:
    """`Patient/id` that an Observation, a Procedure or an AdverseEvent is about; empty without one."""
    return relative(resource.get("subject", {}).get("reference"))
