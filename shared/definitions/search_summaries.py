"""Which elements `_summary` and `_elements` must return: those marked as summary, and the mandatory ones."""

from typing import Any

from search_expressions import Elements, types_of

ALWAYS = frozenset({"id", "meta", "text", "contained", "extension"})
"""Members of every resource: `projection` itself knows what becomes of them."""


def summaries(elements: Elements, resource_types: list[str]) -> dict[str, dict[str, Any]]:
    """By resource type: `mandatory` member names, and `summary` as a tree of member names.

    A member whose tree is empty is kept whole. `value[x]` stands for every type of a choice.
    """
    return {
        resource_type: {
            "mandatory": [
                element["path"].rpartition(".")[2]
                for element in elements.children(resource_type)
                if element["min"] > 0
            ],
            "summary": _summary(elements, resource_type),
        }
        for resource_type in resource_types
    }


def _summary(elements: Elements, place: str) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for element in elements.children(place):
        name = element["path"].rpartition(".")[2]
        if element.get("isSummary") and name not in ALWAYS:
            backbone = "BackboneElement" in types_of(element)
            tree[name] = _summary(elements, element["path"]) if backbone else {}
    return tree
