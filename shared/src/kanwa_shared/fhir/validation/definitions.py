"""R4's element tables, read once per type and only when the type is met.

The JSON files in `r4/` are written by shared/definitions/generate_r4.py from HL7's definitions (see
r4/NOTICE).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Final

import msgspec

from kanwa_shared.fhir.validation import primitives, prose_rules

Codes = dict[str, frozenset[str]]
"""The codes of a required binding, by system."""

# Without id and extensions of their own: XML attributes in R4, and what identifies a resource.
_ATTRIBUTES: Final = frozenset({("Element", "id"), ("Extension", "url"), ("Resource", "id")})
# These may be `#id` and then refer to a contained resource.
_MAY_BE_LOCAL: Final = frozenset({"canonical", "uri", "url"})

_FOLDER: Final = files("kanwa_shared.fhir.validation") / "r4"


@dataclass(slots=True, eq=False)
class Member:
    """One JSON member that an object of a type may have; a choice element has one member per type."""

    key: str
    element: str
    """The element's FHIRPath name: `value` for the member `valueQuantity`."""
    type_name: str
    many: bool
    sibling: bool = False
    """Whether this is the `_key` that holds id and extensions of a primitive."""
    choice: bool = False
    test: primitives.Test | None = None
    """The primitive's test; None for complex types and resources."""
    codes: Codes | None = None
    flat_codes: frozenset[str] | None = None
    targets: frozenset[str] = frozenset()
    invariants: tuple["Invariant", ...] = ()
    part_name: str = ""
    special: int = 0
    """Whether a value that passes the test needs a further look: always (1), for codes, narrative or
    invariants, or only where there are contained resources that a URI may mean (2)."""
    plain: bool = False
    """Whether an object needs no look beyond that at its members."""
    _part: "Part | None" = None

    @property
    def part(self) -> "Part":
        """The type of the member's object."""
        if self._part is None:
            self._part = part(self.part_name)
        return self._part


@dataclass(frozen=True, slots=True)
class Invariant:
    """One R4 constraint of severity error."""

    key: str
    expression: str
    human: str


@dataclass(slots=True, eq=False)
class Part:
    """A resource type, a complex type or a backbone element, with everything it inherits."""

    name: str
    base: str
    is_resource: bool
    members: dict[str, Member] = field(default_factory=dict[str, Member])
    required: list[tuple[str, tuple[str, ...]]] = field(default_factory=list[tuple[str, tuple[str, ...]]])
    """Element name, and the members of which one must be there."""
    invariants: tuple[Invariant, ...] = ()
    prose_rules: tuple[str, ...] = ()


class _Element(msgspec.Struct, rename={"minimum": "min", "maximum": "max"}):
    types: list[str]
    minimum: int = 0
    maximum: str = "1"
    like: str = ""
    targets: list[str] = []
    codes: str = ""
    invariants: list[tuple[str, str, str]] = []


class _Entry(msgspec.Struct):
    base: str
    elements: dict[str, _Element]
    resource: bool = False
    invariants: list[tuple[str, str, str]] = []


@cache
def _tables() -> dict[str, msgspec.Raw]:
    text = (_FOLDER / "elements.json").read_bytes()
    return msgspec.json.decode(text, type=dict[str, msgspec.Raw])


@cache
def _code_tables() -> dict[str, msgspec.Raw]:
    return msgspec.json.decode((_FOLDER / "codes.json").read_bytes(), type=dict[str, msgspec.Raw])


@cache
def codes(value_set: str) -> Codes:
    """The codes of a value set by system; `value_set` is its canonical URL without version."""
    listed = msgspec.json.decode(_code_tables()[value_set], type=dict[str, list[str]])
    return {system: frozenset(members) for system, members in listed.items()}


@cache
def _flat_codes(value_set: str) -> frozenset[str]:
    return frozenset(code for members in codes(value_set).values() for code in members)


@cache
def part(name: str) -> Part:
    """The type or backbone element by its path, such as `Patient.contact`; KeyError if R4 has none."""
    entry = msgspec.json.decode(_tables()[name], type=_Entry)
    built = Part(name, entry.base, entry.resource)
    if entry.base:
        base = part(entry.base)
        built.members.update(base.members)
        built.required.extend(base.required)
        built.invariants = base.invariants
    if name in prose_rules.RULES:
        built.prose_rules = (name,)
    built.invariants += _invariants(entry.invariants)
    for element_name, element in entry.elements.items():
        for member in _members(name, element_name, element):
            built.members[member.key] = member
        if element.minimum:
            built.required.append(_requirement(element_name, element))
    return built


def names() -> Iterator[str]:
    """Every path that has a part."""
    return iter(_tables())


def _invariants(listed: list[tuple[str, str, str]]) -> tuple[Invariant, ...]:
    return tuple(Invariant(key, expression, human) for key, expression, human in listed)


def _key(element_name: str, type_name: str) -> str:
    if not element_name.endswith("[x]"):
        return element_name
    json_name = "Quantity" if type_name in ("SimpleQuantity", "MoneyQuantity") else type_name
    return element_name.removesuffix("[x]") + json_name[0].upper() + json_name[1:]


def _requirement(element_name: str, element: _Element) -> tuple[str, tuple[str, ...]]:
    keys = [_key(element_name, type_name) for type_name in element.types] or [element_name]
    return element_name.removesuffix("[x]"), (*keys, *(f"_{key}" for key in keys))


def _members(owner: str, element_name: str, element: _Element) -> Iterator[Member]:
    for type_name in element.types or [""]:
        member = Member(
            key=_key(element_name, type_name),
            element=element_name.removesuffix("[x]"),
            type_name=type_name,
            many=element.maximum != "1",
            choice=element_name.endswith("[x]"),
            test=primitives.TESTS.get(type_name),
            targets=frozenset(element.targets if type_name == "Reference" else ()),
            invariants=_invariants(element.invariants),
            part_name=_part_name(owner, element_name, element, type_name),
        )
        if element.codes:
            member.codes = codes(element.codes)
            member.flat_codes = _flat_codes(element.codes)
        member.special = 1 if element.codes or element.invariants or type_name == "xhtml" else 0
        if not member.special:
            member.special = 2 if type_name in _MAY_BE_LOCAL else 0
            member.plain = type_name not in ("Reference", "Resource")
        yield member
        if member.test is not None and (owner, element_name) not in _ATTRIBUTES:
            yield _sibling(member)


def _part_name(owner: str, element_name: str, element: _Element, type_name: str) -> str:
    if element.like:
        return element.like
    return f"{owner}.{element_name}" if type_name in ("BackboneElement", "Element") else type_name


def _sibling(member: Member) -> Member:
    return Member(
        key=f"_{member.key}",
        element=member.element,
        type_name=member.type_name,
        many=member.many,
        sibling=True,
        choice=member.choice,
        part_name="Element",
    )
