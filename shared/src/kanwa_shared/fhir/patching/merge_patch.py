"""A partial resource as a patch: JSON Merge Patch (RFC 7396), as fhirpy and others send it."""

from typing import Any, cast

from kanwa_shared.fhir.json_types import Tree


def merge_patch(tree: Tree, partial: Tree) -> Tree:
    """The tree with the members of `partial`: null removes one, objects are merged, all else is replaced."""
    merged = dict(tree)
    for name, value in partial.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            before = merged.get(name)
            known = cast("Tree", before) if isinstance(before, dict) else {}
            merged[name] = merge_patch(known, cast("dict[str, Any]", value))
        else:
            merged[name] = value
    return merged
