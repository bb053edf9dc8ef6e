"""The collections that FHIRPath works on, over the JSON tree of a resource."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias, cast

from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.validation import comparison
from kanwa_shared.fhir.validation.resource_types import CHOICE_KEYS

Items: TypeAlias = list[Any]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """FHIRPath's %resource, %rootResource and %context."""

    resource: Tree
    root: Tree
    context: Any


@dataclass(frozen=True, slots=True, eq=False)
class WithoutValue:
    """A primitive element that has extensions but no value: it exists, and compares with nothing."""

    beside: Tree


Expression: TypeAlias = Callable[[Items, Surroundings], Items]
"""A compiled expression: what it says of a focus, given what surrounds it."""


def is_true(items: Items) -> bool:
    """A collection as a condition: empty is false, one item that is no boolean is true."""
    if not items:
        return False
    first = items[0]
    return first if isinstance(first, bool) else len(items) == 1


def children_named(items: Items, name: str) -> Items:
    """The elements `name` of all items; a choice element under any of its types."""
    found: Items = []
    for item in items:
        if isinstance(item, WithoutValue):
            item = item.beside
        if item.__class__ is dict:
            value = item.get(name)
            if value is None:
                value = _choice_or_beside(item, name)
            if value.__class__ is list:
                found.extend(_filled(item, name, value))
            elif value is not None:
                found.append(value)
    return found


def _choice_or_beside(item: Tree, name: str) -> Any:
    """The value of a choice element, or the sibling that stands for a primitive without value."""
    keys = CHOICE_KEYS.get(name)
    if keys is not None:
        for key in item:
            if key in keys:
                return item[key]
            if key[:1] == "_" and key[1:] in keys and key[1:] not in item:
                return WithoutValue(item[key])
    beside = item.get(f"_{name}")
    if beside is None:
        return None
    if isinstance(beside, list):
        return [WithoutValue(each) for each in cast("Items", beside) if each is not None]
    return WithoutValue(beside)


def _filled(item: Tree, name: str, values: Items) -> Items:
    """The items of an array; a null in it is a primitive that only has extensions."""
    if None not in values:
        return values
    beside = cast("Items", item.get(f"_{name}") or [])
    return [
        WithoutValue(beside[position]) if value is None else value
        for position, value in enumerate(values)
        if value is not None or position < len(beside)
    ]


def type_name(item: Any) -> str:
    """The resource type of a resource, or the primitive type that a JSON value has; empty if unknown."""
    if item.__class__ is dict:
        return item.get("resourceType", "")
    if isinstance(item, bool):
        return "boolean"
    if isinstance(item, str):
        return "string"
    return "decimal" if isinstance(item, int | Decimal) else ""


def distinct(items: Items) -> Items:
    """The items without repetition, in order."""
    return list({comparison.key(item): item for item in reversed(items)}.values())[::-1]


def descendants(item: Any) -> Iterator[Any]:
    """Everything inside a node, values of primitives too; extensions of primitives are left out."""
    if isinstance(item, dict):
        for key, value in cast("Tree", item).items():
            if key[:1] != "_" and key != "resourceType":
                yield from _with_descendants(value)


def _with_descendants(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for each in cast("Items", value):
            yield from _with_descendants(each)
    elif value is not None:
        yield value
        yield from descendants(value)


def matches(text: str, pattern: str) -> bool:
    """FHIRPath's matches(): found anywhere; a constraint anchors its pattern if it means the whole."""
    return re.search(pattern, text) is not None
