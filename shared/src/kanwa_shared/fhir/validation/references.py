"""Whether a Reference points to a type that its element may refer to (R4 references.html)."""

import re
from collections.abc import Iterator
from typing import Any, Final

from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.validation.resource_types import R4_RESOURCE_TYPES
from kanwa_shared.fhir.validation.scope import Scope

_TYPE_AND_ID: Final = re.compile(
    r"(?:https?://[^?#\s]*/)?(?P<type>[A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?"
)
_is_id: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}").fullmatch
_SEARCH: Final = re.compile(r"(?P<type>[A-Z][A-Za-z]+)\?\S+")
_CORE_PROFILE: Final = "http://hl7.org/fhir/StructureDefinition/"

Problem = tuple[str, str]
"""Issue code and message."""


def target_type(reference: str) -> str | None:
    """The type that a literal or conditional reference (`Patient?identifier=…`) names; None if none."""
    name, _, rest = reference.partition("/")
    if name in R4_RESOURCE_TYPES and _is_id(rest):
        return name
    match = _TYPE_AND_ID.fullmatch(reference) or _SEARCH.fullmatch(reference)
    return match["type"] if match is not None else None


def problems(reference: Tree, targets: frozenset[str], scope: Scope) -> Iterator[Problem]:
    """What is wrong with a Reference of right structure; `targets` is empty where any type may stand."""
    literal = reference.get("reference")
    found: str | None = None
    if isinstance(literal, str):
        if literal.startswith("#"):
            scope.refer(literal[1:])
            inner = scope.target(literal[1:])
            if inner is None:
                yield (
                    "invariant",
                    f"the contained resource '{literal}' does not exist in this resource (ref-1).",
                )
            else:
                found = _text(inner.get("resourceType"))
        else:
            found = target_type(literal)
            if found is not None and found not in R4_RESOURCE_TYPES:
                # An absolute URL may lead to any server; what stands here is meant for this one.
                if not literal.startswith("http"):
                    yield "value", f"'{found[:40]}' is not a resource type of R4."
                found = None
    stated = _text(reference.get("type"))
    stated = stated.removeprefix(_CORE_PROFILE) if stated else None
    for kind in dict.fromkeys(name for name in (found, stated) if name in R4_RESOURCE_TYPES):
        if targets and kind not in targets:
            yield "value", f"cannot refer to {kind}; expected {_choices(targets)}."
    if found and stated in R4_RESOURCE_TYPES and found != stated:
        yield "value", f"its type says {stated}, its reference says {found}; make them agree."


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _choices(targets: frozenset[str]) -> str:
    *others, last = sorted(targets)
    return f"{', '.join(others)} or {last}" if others else last
