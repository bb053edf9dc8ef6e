"""R4's constraints of severity error, as predicates.

Each is compiled from its published expression when its type is first met. A few hold natively instead: they
are met at every Reference or contained resource, or no FHIRPath engine can say them (narrative).
"""

from collections.abc import Callable
from typing import Any, Final

from kanwa_shared.fhir.validation import fhirpath, fhirpath_items
from kanwa_shared.fhir.validation.comparison import Undecidable
from kanwa_shared.fhir.validation.definitions import Invariant
from kanwa_shared.fhir.validation.scope import Scope

Predicate = Callable[[Any, Scope], bool]

ELSEWHERE: Final = {
    "ele-1": "walker: every object has a value or children",
    "dom-2": "scope: contained resources contain none",
    "dom-3": "scope: contained resources are referred to",
    "dom-4": "scope: contained resources have no version",
    "dom-5": "scope: contained resources have no security labels",
    "ref-1": "references: a local reference has its contained resource",
    "txt-1": "narrative: allowed elements and attributes",
    "txt-2": "not enforced, see narrative: HL7's own examples have blank narratives",
}
"""Constraints that other modules judge, and which."""

_compiled: dict[tuple[str, str], Predicate | None] = {}


def compiled(rule: Invariant) -> Predicate | None:
    """The predicate of a constraint; None for one that is judged elsewhere."""
    place = rule.key, rule.expression
    if place not in _compiled:
        _compiled[place] = _predicate(rule)
    return _compiled[place]


def holds(rule: Invariant, node: Any, scope: Scope, *, clean: bool = True) -> bool:
    """Whether the node keeps the constraint; `clean` says that its structure is right.

    An expression over a broken structure may have no meaning; the structure's own issue is enough then.
    """
    predicate = compiled(rule)
    if predicate is None:
        return True
    if clean:
        return predicate(node, scope)
    try:
        return predicate(node, scope)
    except (TypeError, ValueError, AttributeError, KeyError, IndexError):
        return True


def _predicate(rule: Invariant) -> Predicate | None:
    if rule.key in ELSEWHERE:
        return None
    if rule.key in _BY_HAND:
        return _BY_HAND[rule.key]
    expression = fhirpath.compile_expression(rule.expression)

    def predicate(node: Any, scope: Scope) -> bool:
        around = fhirpath_items.Surroundings(scope.resource, scope.root, node)
        try:
            return fhirpath_items.is_true(expression([node], around))
        except Undecidable:
            return True

    return predicate


def _has(node: Any, key: str) -> bool:
    return key in node or f"_{key}" in node


def _extension(node: Any, _scope: Scope) -> bool:
    has_value = False
    for key in node:
        if key.startswith(("value", "_value")):
            has_value = True
            break
    return ("extension" in node) != has_value


_BY_HAND: Final[dict[str, Predicate]] = {
    # The ones that nearly every resource meets; tests hold them against their published expressions.
    "ext-1": _extension,
    "qty-3": lambda node, _scope: _has(node, "system") if _has(node, "code") else True,
    "sqty-1": lambda node, _scope: not _has(node, "comparator"),
}
