"""Elements of a resource's tree by place, so that they can be changed: a FHIRPath expression gives only values.

In FHIR's JSON a primitive has two halves, the member with its value and the `_member` with its id and extensions,
and a list of primitives is two lists in step. Here both halves go together.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.validation.definitions import Member, Part, part
from kanwa_shared.fhir.validation.fhirpath_items import WithoutValue


@dataclass(frozen=True, slots=True)
class Element:
    """One element's content: `value` None is a primitive that has only `beside`, its id and extensions."""

    value: Any
    beside: Tree | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where an element is: at `position` of the member of `owner`, which is of the type `kind`; the root has none.

    `inside` is the place of `owner`.
    """

    owner: Tree
    kind: Part
    member: Member | None = None
    position: int = 0
    inside: "Place | None" = None

    @property
    def value(self) -> Any:
        """The JSON value; None for a primitive without one."""
        return self.owner if self.member is None else _element(self.owner, self.member, self.position).value

    @property
    def item(self) -> Any:
        """The element as FHIRPath sees it."""
        if self.member is None:
            return self.owner
        element = _element(self.owner, self.member, self.position)
        return WithoutValue(element.beside or {}) if element.value is None else element.value

    @property
    def part(self) -> Part | None:
        """The type of the element's own members; None for a primitive."""
        if self.member is None:
            return self.kind
        value = self.value
        if not isinstance(value, dict):
            return None
        inner = cast("Tree", value)
        return resource_part(inner) if self.member.part_name == "Resource" else self.member.part


def resource_part(tree: Tree) -> Part | None:
    """The definition of a resource's type; None if R4 has no such type."""
    try:
        return part(str(tree.get("resourceType")))
    except KeyError:
        return None


def members_named(kind: Part, name: str) -> Iterator[Member]:
    """The members that an element has in JSON: several for a choice, which may also be named by one of its types."""
    for member in kind.members.values():
        if not member.sibling and name in (member.element, member.key):
            yield member


def children(place: Place, name: str) -> Iterator[Place]:
    """The places of the elements `name` inside `place`."""
    kind = place.part
    if kind is None:
        return
    owner = cast("Tree", place.value)
    for member in members_named(kind, name):
        for position in range(count(owner, member)):
            yield Place(owner, kind, member, position, place)


def elements(owner: Tree, member: Member) -> list[Element]:
    """The elements that a member holds: none, one, or those of a list."""
    return [_element(owner, member, position) for position in range(count(owner, member))]


def count(owner: Tree, member: Member) -> int:
    """How many elements a member holds."""
    value, beside = owner.get(member.key), owner.get(f"_{member.key}")
    if value is None and beside is None:
        return 0
    return max(len(_listed(value)), len(_listed(beside))) if member.many else 1


def _element(owner: Tree, member: Member, position: int) -> Element:
    """One element that is there, without a look at the others of its list."""
    value, beside = owner.get(member.key), owner.get(f"_{member.key}")
    return Element(_at(value, position), _at(beside, position)) if member.many else Element(value, beside)


def _listed(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _at(value: Any, position: int) -> Any:
    listed = _listed(value)
    return listed[position] if position < len(listed) else None


def write(owner: Tree, member: Member, content: list[Element]) -> None:
    """Let the member hold these elements; without any it is removed."""
    values = [element.value for element in content]
    sides = [element.beside for element in content]
    _put(owner, member.key, values if member.many else values[0] if values else None)
    _put(owner, f"_{member.key}", sides if member.many else sides[0] if sides else None)


def remove(place: Place) -> None:
    """Take the element out, and with it what would be left empty around it: FHIR has no empty elements."""
    if place.member is None:
        return
    content = elements(place.owner, place.member)
    write(place.owner, place.member, [*content[: place.position], *content[place.position + 1 :]])
    if not place.owner and place.inside is not None:
        remove(place.inside)


def _put(owner: Tree, key: str, value: Any) -> None:
    empty = value is None or (
        isinstance(value, list) and all(each is None for each in cast("list[Any]", value))
    )
    if empty:
        owner.pop(key, None)
    else:
        owner[key] = value
