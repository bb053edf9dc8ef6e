"""Operators that break R4: each takes a valid tree and yields broken ones with the place that is broken."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from kanwa_shared.fhir.json_text import JsonDecimal
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.validation.definitions import part
from kanwa_shared.fhir.validation.resource_types import R4_RESOURCE_TYPES
from tests.mutations.cases import GONE, Spot, changed, spots

Broken = Iterator[tuple[str, Tree]]
Operator = Callable[[Tree], Broken]


def missing_element(tree: Tree) -> Broken:
    """A required element is not there."""
    for spot in spots(tree):
        required = {name for name, _ in spot.kind.required}
        if spot.member.element in required and f"_{spot.member.key}" not in _object(tree, spot):
            yield spot.where, changed(tree, spot.place, spot.member.key, GONE)


def unknown_element(tree: Tree) -> Broken:
    """An element that R4 has nowhere, at the root and inside."""
    yield "urgencyLevel", tree | {"urgencyLevel": "high"}
    for spot in spots(tree):
        if isinstance(spot.value, dict):
            yield spot.where, changed(tree, (*spot.place, spot.member.key), "urgencyLevel", "high")


def misplaced_element(tree: Tree) -> Broken:
    """An element of another type, or a library's name for one."""
    members = part(tree["resourceType"]).members
    for key, value in (("birthDate", "1950-01-01"), ("intent", "order"), ("participantStatus", "accepted")):
        if key not in members:
            yield key, tree | {key: value}
    yield "resource_type", tree | {"resource_type": tree["resourceType"]}
    yield "fhir_comments", tree | {"fhir_comments": ["checked"]}


def code_outside_binding(tree: Tree) -> Broken:
    """A code that the required binding has not, or has in other case."""
    for spot in spots(tree):
        if spot.member.test is None or spot.member.flat_codes is None:
            continue
        many = isinstance(spot.value, list)
        for code in ("banana", (spot.value[0] if many else spot.value).upper()):
            if code not in spot.member.flat_codes:
                yield (
                    f"{spot.where}={code}",
                    changed(tree, spot.place, spot.member.key, [code] if many else code),
                )


def concept_outside_binding(tree: Tree) -> Broken:
    """A CodeableConcept of a required binding with a foreign code, or with text alone."""
    for spot in spots(tree):
        if spot.member.type_name == "CodeableConcept" and spot.member.codes:
            concept = {"coding": [{"system": "http://loinc.org", "code": "72514-3"}]}
            yield spot.where, changed(tree, spot.place, spot.member.key, _like(spot, concept))


def wrong_target(tree: Tree) -> Broken:
    """A Reference to a type that its element may not refer to."""
    for spot in spots(tree):
        if spot.member.type_name == "Reference" and spot.member.targets:
            other = next(name for name in ("Slot", "Binary", "Patient") if name not in spot.member.targets)
            broken = _like(spot, {"reference": f"{other}/1"})
            yield f"{spot.where}={other}", changed(tree, spot.place, spot.member.key, broken)


def unknown_target(tree: Tree) -> Broken:
    """A relative Reference to a type that R4 has not."""
    for spot in spots(tree):
        if spot.member.type_name == "Reference":
            broken = _like(spot, {"reference": "Patientt/1"})
            yield spot.where, changed(tree, spot.place, spot.member.key, broken)


def choice_twice(tree: Tree) -> Broken:
    """Two types of one choice element."""
    second: dict[str, Any] = {
        "string": "x",
        "boolean": True,
        "dateTime": "2031-03-01",
        "integer": 1,
        "Period": {"start": "2031"},
    }
    for spot in spots(tree):
        if spot.member.choice:
            others = [
                m for m in spot.kind.members.values() if m.element == spot.member.element and not m.sibling
            ]
            other = next((m for m in others if m.type_name in second and m.key != spot.member.key), None)
            if other is not None:
                yield (
                    f"{spot.where}+{other.key}",
                    changed(tree, spot.place, other.key, second[other.type_name]),
                )


_DATES: Final = {
    "date": ["2031-02-30", "2031-13-01", "2031-3-1", "01/03/2031", "2031-03-01T09:00:00Z", "", "2031-03-01 "],
    "dateTime": ["2031-02-29", "2031-03-01T09:00:00", "2031-03-01T09:00Z", "2031-03-01T24:00:00Z", "20310301", "soon"],
    "instant": ["2031-03-01", "2031-03-01T09:00:00", "2031-02-30T09:00:00Z", "2031-03-01T09:00:00+25:00"],
    "time": ["9:00", "09:00", "25:00:00", "09:00:00Z"],
}  # fmt: skip


def impossible_date(tree: Tree) -> Broken:
    """A date that is none, or a time without offset or seconds."""
    for spot in spots(tree):
        for text in _DATES.get(spot.member.type_name, ()):
            yield f"{spot.where}={text}", changed(tree, spot.place, spot.member.key, _like(spot, text))


def emptiness(tree: Tree) -> Broken:
    """null, an empty string, object or array."""
    for spot in spots(tree):
        for value in (None, [], {}, "", [None], [{}]):
            yield f"{spot.where}={value!r}", changed(tree, spot.place, spot.member.key, value)


_WRONG_KIND: Final[dict[str, list[Any]]] = {
    "boolean": ["true", 0, 1],
    "integer": ["1", JsonDecimal("1.0"), 2**31, True],
    "positiveInt": ["1", 0, -1, JsonDecimal("1.5")],
    "unsignedInt": ["0", -1],
    "decimal": ["1.5", True],
    "string": [5, True, {"value": "x"}],
    "markdown": [5],
    "code": [5, " active", "active ", "a  b"],
    "uri": [5, "http://x.example/a b"],
    "url": [5],
    "canonical": [5, "http://x.example/a b"],
    "id": ["x" * 65, "a_b", "a/b", 7],
    "base64Binary": ["a!", "abc", 5],
    "oid": ["2.16.1", "urn:oid:a"],
    "uuid": ["87e11d66-c137-458a-9754-fe6c4e445a6d"],
}


def wrong_kind(tree: Tree) -> Broken:
    """A JSON value of another kind, or text outside a primitive's format."""
    for spot in spots(tree):
        for value in _WRONG_KIND.get(spot.member.type_name, ()):
            yield (
                f"{spot.where}={value!r:.20}",
                changed(tree, spot.place, spot.member.key, _like(spot, value)),
            )


def one_for_many(tree: Tree) -> Broken:
    """A value where an array is due, and the other way round."""
    for spot in spots(tree):
        value = spot.value[0] if isinstance(spot.value, list) else [spot.value]
        yield spot.where, changed(tree, spot.place, spot.member.key, value)


def primitive_for_object(tree: Tree) -> Broken:
    """Text where an object is due."""
    for spot in spots(tree):
        if spot.member.test is None and spot.member.type_name != "Resource":
            yield spot.where, changed(tree, spot.place, spot.member.key, _like(spot, "x"))


def broken_extension(tree: Tree) -> Broken:
    """An extension with value and extensions, with neither, without url, with two values, of unknown type."""
    url = {"url": "http://kita-hospital.example/x"}
    broken: dict[str, Tree] = {
        "both": url | {"valueString": "x", "extension": [url | {"valueBoolean": True}]},
        "neither": dict(url),
        "no url": {"valueString": "x"},
        "two values": url | {"valueString": "x", "valueBoolean": True},
        "unknown type": url | {"valueText": "x"},
    }
    for name, extension in broken.items():
        yield name, tree | {"extension": [extension]}
    for spot in spots(tree):
        if isinstance(spot.value, dict) and "modifierExtension" not in spot.member.part.members:
            modifier = [url | {"valueBoolean": True}]
            yield (
                f"modifier {spot.where}",
                changed(tree, (*spot.place, spot.member.key), "modifierExtension", modifier),
            )


def broken_contained(tree: Tree) -> Broken:
    """dom-2 to dom-5 and ref-1, with the element that refers to the contained resource."""
    inner: Tree = {"resourceType": "Patient", "id": "p"}
    patients = [s for s in spots(tree) if s.member.type_name == "Reference" and "Patient" in s.member.targets]
    broken: dict[str, Tree] = {
        "dom-2": inner | {"contained": [{"resourceType": "Patient", "id": "q"}]},
        "dom-4": inner | {"meta": {"versionId": "1"}},
        "dom-5": inner | {"meta": {"security": [{"code": "R"}]}},
    }
    yield "dom-3", tree | {"contained": [inner]}
    for spot in patients[:1]:
        pointing = changed(tree, spot.place, spot.member.key, _like(spot, {"reference": "#p"}))
        yield f"ref-1 {spot.where}", {name: value for name, value in pointing.items() if name != "contained"}
        for name, contained in broken.items():
            yield f"{name} {spot.where}", pointing | {"contained": [contained]}


def broken_narrative(tree: Tree) -> Broken:
    """Active content, a foreign element, no namespace, text that is no XML, and a status outside its binding."""
    xhtml = 'xmlns="http://www.w3.org/1999/xhtml"'
    broken = {
        "script": f"<div {xhtml}><script>x()</script></div>",
        "event": f'<div {xhtml}><p onclick="x()">x</p></div>',
        "form": f"<div {xhtml}><form>x</form></div>",
        "namespace": "<div>x</div>",
        "not closed": f"<div {xhtml}><p>x</div>",
        "no div": f"<p {xhtml}>x</p>",
    }
    for name, div in broken.items():
        yield name, tree | {"text": {"status": "generated", "div": div}}
    yield "status", tree | {"text": {"status": "written", "div": f"<div {xhtml}>x</div>"}}
    yield "without div", tree | {"text": {"status": "generated"}}


def broken_identity(tree: Tree) -> Broken:
    """Ids, meta and language out of their formats, and a resourceType that R4 has not."""
    for id in ("x" * 65, "a_b", "a b", "", 7, ["a"]):
        yield f"id={id!r:.20}", tree | {"id": id}
    for meta in (
        None,
        [],
        {},
        {"versionId": 1},
        {"lastUpdated": "2031-03-01"},
        {"profile": "http://x.example"},
    ):
        yield f"meta={meta!r}", tree | {"meta": meta}
    yield "language", tree | {"language": 5}
    yield "implicitRules", tree | {"implicitRules": "http://x.example/a b"}
    assert "Referral" not in R4_RESOURCE_TYPES
    yield "resourceType", tree | {"resourceType": "Referral"}


def broken_sibling(tree: Tree) -> Broken:
    """A `_name` of wrong form: without extension, of another length, beside what is no primitive."""
    for spot in spots(tree):
        beside = f"_{spot.member.key}"
        if spot.member.test is None:
            yield f"{spot.where} of no primitive", changed(tree, spot.place, beside, {"id": "a"})
        elif isinstance(spot.value, list):
            longer = [{"id": "a"}] * (len(spot.value) + 1)
            yield f"{spot.where} longer", changed(tree, spot.place, beside, longer)
        elif beside in spot.kind.members:
            alone = changed(changed(tree, spot.place, spot.member.key, GONE), spot.place, beside, {"id": "a"})
            yield f"{spot.where} id alone", alone
            yield f"{spot.where} text", changed(tree, spot.place, beside, "x")


def _object(tree: Tree, spot: Spot) -> Tree:
    node: Any = tree
    for step in spot.place:
        node = node[step]
    return node


def _like(spot: Spot, value: Any) -> Any:
    """The value, in an array where the element repeats."""
    return [value] if spot.member.many else value


FAULTS: Final[dict[str, Operator]] = {
    operator.__name__.replace("_", "-"): operator
    for operator in (
        missing_element,
        unknown_element,
        misplaced_element,
        code_outside_binding,
        concept_outside_binding,
        wrong_target,
        unknown_target,
        choice_twice,
        impossible_date,
        emptiness,
        wrong_kind,
        one_for_many,
        primitive_for_object,
        broken_extension,
        broken_contained,
        broken_narrative,
        broken_identity,
        broken_sibling,
    )
}
