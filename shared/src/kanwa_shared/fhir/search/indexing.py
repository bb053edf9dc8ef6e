"""From a resource to its index rows: one walk over what it holds, guided by a tree of element names."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from functools import cache
from typing import Any, Final, cast

from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.search.composites import composite_action
from kanwa_shared.fhir.search.definitions import ElementPath, SearchParameter, parameters_of
from kanwa_shared.fhir.search.tokens import present
from kanwa_shared.fhir.search.values import Action, Rows, action_for

_BY_COLUMN: Final = frozenset({"_id", "_lastUpdated"})
_STEP: Final = re.compile(r"(?P<name>\w+)(?P<first>\[0\])?(\[(?P<key>\w+)=(?P<value>[\w-]+)\])?")


@dataclass(frozen=True, slots=True)
class IndexRows:
    """What searches find a resource by. Ranges of time are half-open, [low, high); of quantities closed.

    Tokens are whole texts (see `tokens`); references are (param, target type, target id); dates are
    (param, low, high); quantities and numbers (param, low, high, system, code); strings (param, normalised,
    as written).
    """

    tokens: list[str]
    references: list[tuple[str, str, str]]
    dates: list[tuple[str, datetime, datetime]]
    quantities: list[tuple[str, Decimal, Decimal, str, str]]
    strings: list[tuple[str, str, str]]


@dataclass(slots=True)
class _Node:
    """One element: what to do with its values, and with what is inside them."""

    children: dict[str, "_Node"] = field(default_factory=lambda: {})
    filtered: list[tuple[str, str, "_Node"]] = field(default_factory=lambda: [])
    actions: list[Action] = field(default_factory=lambda: [])
    marks: dict[str, None] = field(default_factory=lambda: {})
    only_first: bool = False


def index(tree: Tree, *, base_url: str = "", zone: tzinfo = UTC) -> IndexRows:
    """Index rows of a valid resource for all official R4 search parameters of its type.

    Absolute references that start with `base_url` count as relative ones; `zone` is the time zone of dates
    that have none. Pure; a type that has no search parameters gives no rows.
    """
    rows = Rows(tree, base_url, zone)
    _visit(tree, _root(tree["resourceType"]), rows)
    return IndexRows(list(rows.tokens), list(rows.references), rows.dates, rows.quantities, rows.strings)


def _visit(value: dict[str, Any], node: _Node, rows: Rows) -> None:
    if node.marks:
        rows.tokens.update(node.marks)
    for action in node.actions:
        action(value, rows)
    for key, wanted, inner in node.filtered:
        if value.get(key) == wanted:
            _visit(value, inner, rows)
    children = node.children
    if not children:
        return
    for name, nested in value.items():
        child = children.get(name)
        if child is None:
            continue
        if nested.__class__ is list:
            items = cast("list[Any]", nested)
            for item in items[:1] if child.only_first else items:
                if item is not None:  # a null only holds the place of an extension in its `_` sibling
                    _visit(item, child, rows)
        elif nested is not None:
            _visit(nested, child, rows)


@cache
def _root(resource_type: str) -> _Node:
    root = _Node()
    for parameter in parameters_of(resource_type).values():
        if parameter.code in _BY_COLUMN:
            continue
        if parameter.type == "composite":
            _add_composite(root, parameter)
        for path in () if _borrows_all(parameter) else parameter.paths:
            _add_path(root, parameter, path)
    return root


def _borrows_all(parameter: SearchParameter) -> bool:
    """Whether other parameters' rows hold every value. Names and addresses still add parts of their own; a
    reference parameter still notes its presence and identifiers."""
    if parameter.type == "reference":
        return False
    datatypes = {path.datatype for path in parameter.paths}
    return bool(parameter.of or (parameter.union and not datatypes & {"HumanName", "Address"}))


def _add_path(root: _Node, parameter: SearchParameter, path: ElementPath) -> None:
    node = _node_at(root, path.path)
    node.actions.append(action_for(parameter, path))
    if parameter.type in ("token", "uri") and not parameter.required:
        node.marks[present(parameter.resource_type, parameter.code)] = None


def _add_composite(root: _Node, parameter: SearchParameter) -> None:
    """A composite whose parts can't repeat is the conjunction of the parts and needs no rows of its own."""
    if not parameter.flat and not parameter.union:
        for context in parameter.contexts:
            _node_at(root, context).actions.append(composite_action(parameter))


def _node_at(root: _Node, path: str) -> _Node:
    node = root
    for step in path.split(".") if path else ():
        found = _STEP.fullmatch(step)
        if found is None:
            raise ValueError(f"the search parameter table holds a path that is not understood: {path}")
        node = node.children.setdefault(found["name"], _Node())
        node.only_first = bool(found["first"])
        if found["key"]:
            node = _filtered(node, found["key"], found["value"])
    return node


def _filtered(node: _Node, key: str, value: str) -> _Node:
    for held_key, held_value, inner in node.filtered:
        if (held_key, held_value) == (key, value):
            return inner
    inner = _Node()
    node.filtered.append((key, value, inner))
    return inner
