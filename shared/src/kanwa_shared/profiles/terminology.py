"""The codes of the value sets that profiles bind to: kanwa's own, as they are published."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from kanwa_shared.clinical.catalogue_fhir import catalogue_resources
from kanwa_shared.fhir.json_types import Tree


@cache
def codes_in(value_set: str) -> Mapping[str, frozenset[str]]:
    """The codes of a value set by code system. Raises KeyError for one that kanwa does not publish."""
    published = {str(tree["url"]): tree for tree in catalogue_resources() if "url" in tree}
    systems = [str(include["system"]) for include in published[value_set]["compose"]["include"]]
    return {system: frozenset(_codes(published[system]["concept"])) for system in systems}


def _codes(concepts: Iterable[Tree]) -> Iterator[str]:
    for concept in concepts:
        yield str(concept["code"])
        yield from _codes(concept.get("concept", ()))
