"""Parts of resources: `_summary` and `_elements`.

https://hl7.org/fhir/R4/search.html#summary and #elements
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import msgspec

from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.search.conditions import Search
from kanwa_shared.fhir.search.definitions import all_types

Members: TypeAlias = dict[str, Any]
"""Tree of member names; one without members of its own is kept whole."""

_TABLE: Final = Path(__file__).with_name("summary_elements.json")
_WHOLE: Final[Members] = {}
_IDENTITY: Final = ("resourceType", "id", "meta")
_ALWAYS: Final = (*_IDENTITY, "implicitRules", "modifierExtension")
"""What identifies a resource or may change its meaning."""
SUBSETTED: Final = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
}


def projected(tree: Tree, search: Search) -> Tree | None:
    """The part of a resource that `search` asks for, marked as SUBSETTED; None if it asks for the whole.

    The mandatory elements always stay, so that the part is still valid. It shares what it keeps with `tree`.
    """
    kept = _kept(tree["resourceType"], search)
    if kept is None:
        return None
    part = _part(tree, kept)
    meta: Tree = {**part.get("meta", {})}
    meta["tag"] = [tag for tag in meta.get("tag", []) if tag.get("code") != "SUBSETTED"] + [SUBSETTED]
    return {**{name: part[name] for name in _IDENTITY if name in part}, "meta": meta, **_rest(part)}


def _rest(part: Tree) -> Tree:
    return {name: value for name, value in part.items() if name not in _IDENTITY}


def _kept(resource_type: str, search: Search) -> Members | None:
    table = _table().get(resource_type)
    if table is None:
        return None
    members = _whole([*_ALWAYS, *table["mandatory"]])
    match search.summary:
        case "true":
            return {**members, "language": _WHOLE, **table["summary"]}
        case "text":
            return {**members, "text": _WHOLE}
        case "data":
            return {**members, "*": _WHOLE}
        case _:
            names = _elements_of(resource_type, search)
            return {**members, **_whole(names)} if names else None


def _whole(names: Iterable[str]) -> Members:
    return dict.fromkeys(names, _WHOLE)


def _elements_of(resource_type: str, search: Search) -> list[str]:
    """Names in `_elements` that speak of a type; without a type they speak of the matches only."""
    names: list[str] = []
    for element in search.elements:
        head, dot, rest = element.partition(".")
        if dot and head in all_types():
            names += [rest.partition(".")[0]] if head == resource_type else []
        elif resource_type == search.resource_type:
            names.append(head)
    return names


def _part(tree: Tree, members: Members) -> Tree:
    choices = tuple(name[:-3] for name in members if name.endswith("[x]"))
    part: Tree = {}
    for name, value in tree.items():
        plain = name.removeprefix("_")
        inner: Members | None = members.get(plain)
        if inner is None and (_is_choice(plain, choices) or ("*" in members and plain != "text")):
            inner = _WHOLE
        if inner is not None:
            part[name] = _nested(value, inner) if inner else value
    return part


def _is_choice(name: str, choices: tuple[str, ...]) -> bool:
    return any(
        name.startswith(choice) and name[len(choice) : len(choice) + 1].isupper() for choice in choices
    )


def _nested(value: Any, members: Members) -> Any:
    if isinstance(value, list):
        return [_nested(item, members) for item in cast("list[Any]", value)]
    return (
        _part(cast("Tree", value), {"id": _WHOLE, "modifierExtension": _WHOLE, **members})
        if isinstance(value, dict)
        else value
    )


@cache
def _table() -> dict[str, dict[str, Any]]:
    return msgspec.json.decode(_TABLE.read_bytes())
