"""The FHIRPath functions that R4's constraints call (http://hl7.org/fhirpath/N1/#functions)."""

import re
from collections.abc import Callable
from typing import Any, Final, cast

from kanwa_shared.fhir.validation import comparison
from kanwa_shared.fhir.validation.fhirpath_items import (
    Expression,
    Items,
    Surroundings,
    WithoutValue,
    children_named,
    descendants,
    distinct,
    is_true,
    matches,
)

Function = Callable[..., Items]
Lambda = Callable[[Items, Surroundings, tuple[Expression, ...]], Items]


def _exists(items: Items, around: Surroundings, parts: tuple[Expression, ...]) -> Items:
    return [bool(_where(items, around, parts) if parts else items)]


def _where(items: Items, around: Surroundings, parts: tuple[Expression, ...]) -> Items:
    return [item for item in items if is_true(parts[0]([item], around))]


def _select(items: Items, around: Surroundings, parts: tuple[Expression, ...]) -> Items:
    return [found for item in items for found in parts[0]([item], around)]


def _all(items: Items, around: Surroundings, parts: tuple[Expression, ...]) -> Items:
    return [all(is_true(parts[0]([item], around)) for item in items)]


def _iif(items: Items, around: Surroundings, parts: tuple[Expression, ...]) -> Items:
    if is_true(parts[0](items, around)):
        return parts[1](items, around)
    return parts[2](items, around) if len(parts) > 2 else []


LAMBDAS: Final[dict[str, Lambda]] = {
    "exists": _exists,
    "where": _where,
    "select": _select,
    "all": _all,
    "iif": _iif,
}
"""Functions whose arguments are evaluated per item, by name."""


def _not(items: Items, _around: Surroundings) -> Items:
    return [not is_true(items)] if items else []


def _children(items: Items, _around: Surroundings) -> Items:
    names = [key for item in items if isinstance(item, dict) for key in cast("dict[str, Any]", item)]
    return [
        child for name in dict.fromkeys(names) if name[:1] != "_" for child in children_named(items, name)
    ]


def _descendants(items: Items, _around: Surroundings) -> Items:
    return [inner for item in items for inner in descendants(item)]


def _has_value(items: Items, _around: Surroundings) -> Items:
    return [len(items) == 1 and not isinstance(items[0], dict | WithoutValue)]


def _is_distinct(items: Items, _around: Surroundings) -> Items:
    return [len({comparison.key(item) for item in items}) == len(items)]


def _intersect(items: Items, _around: Surroundings, others: Items) -> Items:
    known = {comparison.key(other) for other in others}
    return distinct([item for item in items if comparison.key(item) in known])


def _to_integer(items: Items, _around: Surroundings) -> Items:
    text = str(items[0]) if items else ""
    return [int(text)] if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else []


def _to_string(items: Items, _around: Surroundings) -> Items:
    return [getattr(items[0], "literal", None) or str(items[0])] if items else []


def _resolve(items: Items, around: Surroundings) -> Items:
    """Only contained resources can be resolved here; what lies elsewhere is unknown, as FHIRPath allows."""
    local = [
        item.get("reference", "")[1:] for item in items if str(item.get("reference", "")).startswith("#")
    ]
    return [inner for inner in around.root.get("contained", []) if inner.get("id") in local]


def _on_text(test: Callable[[str, str], Any]) -> Function:
    def apply(items: Items, _around: Surroundings, argument: Items) -> Items:
        if not items or not argument or not isinstance(items[0], str):
            return []
        return [test(items[0], str(argument[0]))]

    return apply


def _substring(items: Items, _around: Surroundings, start: Items) -> Items:
    return [items[0][start[0] :]] if items and isinstance(items[0], str) and len(items[0]) > start[0] else []


def _replace_matches(items: Items, _around: Surroundings, pattern: Items, replacement: Items) -> Items:
    return [re.sub(pattern[0], replacement[0], items[0])] if items and isinstance(items[0], str) else []


def _all_false(items: Items, _around: Surroundings) -> Items:
    return [not any(is_true([item]) for item in items)]


def _combine(items: Items, _around: Surroundings, others: Items) -> Items:
    return [*items, *others]


def _count(items: Items, _around: Surroundings) -> Items:
    return [len(items)]


def _empty(items: Items, _around: Surroundings) -> Items:
    return [not items]


def _first(items: Items, _around: Surroundings) -> Items:
    return items[:1]


def _tail(items: Items, _around: Surroundings) -> Items:
    return items[1:]


def _trace(items: Items, _around: Surroundings, *_arguments: Items) -> Items:
    return items


FUNCTIONS: Final[dict[str, Function]] = {
    "allFalse": _all_false,
    "children": _children,
    "combine": _combine,
    "contains": _on_text(lambda text, part: part in text),
    "count": _count,
    "descendants": _descendants,
    "empty": _empty,
    "first": _first,
    "hasValue": _has_value,
    "intersect": _intersect,
    "isDistinct": _is_distinct,
    "matches": _on_text(matches),
    "not": _not,
    "replaceMatches": _replace_matches,
    "resolve": _resolve,
    "startsWith": _on_text(str.startswith),
    "substring": _substring,
    "tail": _tail,
    "toInteger": _to_integer,
    "toString": _to_string,
    "trace": _trace,
}
"""Functions that take their arguments as values, by name."""
