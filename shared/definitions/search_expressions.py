"""R4 element definitions, and FHIRPath expressions of search parameters as paths through them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Data types from which a search parameter of each type can take a value; an element of choice type is
# followed only into these (https://hl7.org/fhir/R4/search.html, the tables of each parameter type).
USABLE: dict[str, frozenset[str]] = {
    "token": frozenset(
        {"code", "Coding", "CodeableConcept", "Identifier", "ContactPoint", "boolean", "string", "uri", "id"}
    ),
    "reference": frozenset({"Reference", "canonical", "uri", "Resource"}),
    "date": frozenset({"date", "dateTime", "instant", "Period", "Timing"}),
    "string": frozenset({"string", "markdown", "HumanName", "Address"}),
    "quantity": frozenset({"Quantity", "Range", "Money", "SampledData"}),
    "number": frozenset({"integer", "decimal", "positiveInt", "unsignedInt"}),
    "uri": frozenset({"uri", "url", "canonical", "oid", "uuid"}),
}
SAME_AS = {"Age": "Quantity", "Duration": "Quantity", "Count": "Quantity", "Distance": "Quantity"}
FHIRPATH_NAMES = {"DateTime": "dateTime"}
# The official expression is a boolean over two choices; it has no path, so the indexer computes it.
COMPUTED = {"Patient.deceased.exists() and Patient.deceased != false": "Patient.deceased"}


@dataclass(frozen=True)
class Leaf:
    """One element path, the data type at its end, and the type that a reference found there must have."""

    path: str
    datatype: str
    target: str = ""
    repeats: bool = field(default=False, compare=False)
    required: bool = field(default=False, compare=False)
    systems: tuple[str, ...] = field(default=(), compare=False)

    def written(self) -> list[str]:
        """The JSON form: path, data type and, if any, the reference's type."""
        return [self.path, self.datatype, *([self.target] if self.target else [])]


class Elements:
    """Element definitions of every resource and data type, by path."""

    def __init__(self, folder: Path):
        self.by_path: dict[str, dict[str, Any]] = {}
        self.resources: set[str] = set()
        for name in ("profiles-types.json", "profiles-resources.json"):
            for definition in resources_in(folder / name, "StructureDefinition"):
                self._read(definition)
        self.value_sets = {
            value_set["url"]: value_set for value_set in resources_in(folder / "valuesets.json", "ValueSet")
        }

    def _read(self, definition: dict[str, Any]) -> None:
        if definition.get("derivation") == "constraint":
            return
        for element in definition["snapshot"]["element"]:
            self.by_path.setdefault(element["path"], element)
        if definition["kind"] == "resource" and not definition.get("abstract"):
            self.resources.add(definition["type"])

    def step(self, place: str, name: str) -> list[tuple[str, str, str, dict[str, Any]]]:
        """(key, data type, place of its children, definition) of each JSON member that `name` can be."""
        element = self.by_path.get(f"{place}.{name}")
        if element is not None:
            if "contentReference" in element:
                return [(name, "BackboneElement", element["contentReference"].removeprefix("#"), element)]
            return [
                (name, datatype, self._children(element, datatype), element)
                for datatype in dict.fromkeys(types_of(element))
            ]
        element = self.by_path.get(f"{place}.{name}[x]")
        if element is None:
            return []
        return [
            (name + datatype[0].upper() + datatype[1:], datatype, datatype, element)
            for datatype in types_of(element)
        ]

    def _children(self, element: dict[str, Any], datatype: str) -> str:
        return element["path"] if datatype in {"BackboneElement", "Element"} else datatype

    def children(self, place: str) -> list[dict[str, Any]]:
        """Definitions of the members at `place`, in their order."""
        depth = place.count(".") + 1
        return [
            element
            for path, element in self.by_path.items()
            if path.startswith(f"{place}.") and path.count(".") == depth
        ]

    def systems(self, element: dict[str, Any]) -> tuple[str, ...]:
        """Code systems that the required binding of `element` draws on: a `code` has no system of its own."""
        binding = element.get("binding", {})
        value_set = self.value_sets.get(binding.get("valueSet", "").split("|")[0])
        if binding.get("strength") != "required" or value_set is None:
            return ()
        included = value_set.get("compose", {}).get("include", [])
        return tuple(sorted({entry["system"] for entry in included if "system" in entry}))


def resources_in(file: Path, resource_type: str) -> Iterator[dict[str, Any]]:
    """Resources of one type in a Bundle file."""
    for entry in json.loads(file.read_text(encoding="utf-8"))["entry"]:
        if entry["resource"]["resourceType"] == resource_type:
            yield entry["resource"]


def types_of(element: dict[str, Any]) -> list[str]:
    """Data types of an element; FHIRPath's own names of `id` and the like count as string."""
    codes = [entry["code"] for entry in element.get("type", [])]
    return ["string" if code.startswith("http://hl7.org/fhirpath/") else code for code in codes]


STEP = re.compile(
    r"\.(?:as\((?P<cast>\w+)\)|where\(resolve\(\) is (?P<target>\w+)\)"
    r"|where\((?P<key>\w+)='(?P<value>[\w-]+)'\)"
    r"|(?P<name>\w+)(?P<first>\[0\])?)"
)


def alternatives(expression: str, resource_type: str) -> list[str]:
    """The parts of a union that speak of `resource_type`, brackets and `as` written as steps."""
    parts = [part.strip() for part in expression.split("|")]
    plain = [re.sub(r"\((\S+) as (\w+)\)", r"\1.as(\2)", part) for part in parts]
    plain = [part if part[0].isupper() else f"{resource_type}.{part}" for part in plain]
    return [part for part in plain if re.match(rf"{resource_type}(?!\w)", part)]


def compile_path(elements: Elements, resource_type: str, expression: str, kind: str) -> list[Leaf] | None:
    """Leaves of one expression without a union; None when it is not understood."""
    if expression in COMPUTED:
        return [Leaf("", COMPUTED[expression], required=True)]
    rest = re.sub(r"^\w+", "", expression)
    return _follow(elements, rest, Place("", resource_type, resource_type), kind)


@dataclass(frozen=True)
class Place:
    """Where a path has come to."""

    path: str
    datatype: str
    children: str
    element: dict[str, Any] | None = None
    repeats: bool = False
    required: bool = True
    target: str = ""


def _follow(elements: Elements, rest: str, place: Place, kind: str) -> list[Leaf] | None:
    if not rest:
        return _leaf(elements, place, kind)
    step = STEP.match(rest)
    if step is None:
        return None
    rest = rest[step.end() :]
    if cast := step["cast"]:
        wanted = FHIRPATH_NAMES.get(cast, cast)
        return _follow(elements, rest, place, kind) if place.datatype == wanted else []
    if target := step["target"]:
        return _follow(elements, rest, _with(place, target=target), kind)
    if key := step["key"]:
        return _follow(
            elements, rest, _with(place, path=f"{place.path}[{key}={step['value']}]", required=False), kind
        )
    found: list[Leaf] = []
    members = elements.step(place.children, step["name"])
    for name, datatype, children, element in members:
        after = Place(
            path=f"{place.path}.{name}{step['first'] or ''}".removeprefix("."),
            datatype=datatype,
            children=children,
            element=element,
            repeats=place.repeats or (element["max"] not in {"0", "1"} and not step["first"]),
            required=place.required and element["min"] > 0 and len(members) == 1,
        )
        leaves = _follow(elements, rest, after, kind)
        if leaves is None:
            return None
        found += leaves
    return found if members else None


def _with(place: Place, **changed: Any) -> Place:
    return Place(**{**place.__dict__, **changed})


def _leaf(elements: Elements, place: Place, kind: str) -> list[Leaf]:
    datatype = SAME_AS.get(place.datatype, place.datatype)
    if kind == "composite":
        return [Leaf(place.path, datatype, repeats=place.repeats)]
    if datatype not in USABLE[kind] or place.element is None:
        return []
    systems = elements.systems(place.element) if datatype == "code" else ()
    return [Leaf(place.path, datatype, place.target, place.repeats, place.required, systems)]
