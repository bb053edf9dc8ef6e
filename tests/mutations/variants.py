"""Operators that change a valid tree and leave it valid: what strict validators tend to refuse."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from kanwa_shared.fhir.json_text import JsonDecimal
from kanwa_shared.fhir.json_types import Tree
from tests.mutations.cases import GONE, changed, spots

Variant = Iterator[tuple[str, Tree]]

_URL: Final = "http://kita-hospital.example/x"
_REASON: Final = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"


def extended(tree: Tree) -> Variant:
    """Extensions of unknown url, simple and complex, at the root, inside, and modifiers where R4 has them."""
    complex_: Tree = {"url": _URL, "extension": [{"url": "part", "valueDecimal": JsonDecimal("1.50")}]}
    yield "root", tree | {"extension": [{"url": _URL, "valueString": "x"}, complex_]}
    yield "modifier", tree | {"modifierExtension": [{"url": _URL, "valueBoolean": False}]}
    for spot in spots(tree):
        if isinstance(spot.value, dict) and spot.member.type_name != "Resource":
            yield spot.where, changed(tree, (*spot.place, spot.member.key), "extension", [complex_])


def beside_a_value(tree: Tree) -> Variant:
    """An id and extensions beside a primitive's value, or in its stead."""
    absent = {"extension": [{"url": _REASON, "valueCode": "unknown"}]}
    for spot in spots(tree):
        key, beside = spot.member.key, f"_{spot.member.key}"
        if spot.member.test is None or beside not in spot.kind.members or isinstance(spot.value, list):
            continue
        yield f"{spot.where} id", changed(tree, spot.place, beside, {"id": "a1"})
        if spot.member.element not in (
            "url",
            "system",
            "code",
            "value",
            "start",
            "end",
            "status",
            "type",
            "reference",
        ):
            yield (
                f"{spot.where} absent",
                changed(changed(tree, spot.place, key, GONE), spot.place, beside, absent),
            )


def shorter_date(tree: Tree) -> Variant:
    """A date of less precision, other offsets, fractions and a leap second."""
    forms = {
        "date": ["2031", "2031-03"],
        "dateTime": ["2031-03-01", "2031-03-01T09:00:00.123456789+13:45"],
        "instant": ["2031-03-01T09:00:00.5-00:00", "2016-12-31T23:59:60Z"],
    }
    for spot in spots(tree):
        if not spot.place and spot.member.element not in ("lastModified", "authoredOn", "start", "end"):
            for text in forms.get(spot.member.type_name, ()):
                yield (
                    f"{spot.where}={text}",
                    changed(tree, (), spot.member.key, [text] if spot.member.many else text),
                )


def other_reference(tree: Tree) -> Variant:
    """Absolute, versioned, urn, logical, typed and display-only references."""
    for spot in spots(tree):
        if spot.member.type_name != "Reference" or not spot.member.targets or "contained" in tree:
            continue
        target = sorted(spot.member.targets)[0]
        forms: dict[str, Tree] = {
            "absolute": {"reference": f"https://ehr.example/fhir/{target}/1"},
            "version": {"reference": f"{target}/1/_history/2", "type": target},
            "urn": {"reference": "urn:uuid:87e11d66-c137-458a-9754-fe6c4e445a6d"},
            "logical": {"type": target, "identifier": {"system": "http://ehr.example/id", "value": "1"}},
            "display": {"display": "Dr Itō"},
        }
        for name, reference in forms.items():
            value = [reference] if spot.member.many else reference
            yield f"{spot.where} {name}", changed(tree, spot.place, spot.member.key, value)


def contained_and_used(tree: Tree) -> Variant:
    """A contained resource that the resource refers to."""
    for spot in spots(tree):
        if (
            spot.member.type_name == "Reference"
            and "Patient" in spot.member.targets
            and "contained" not in tree
        ):
            value = [{"reference": "#p"}] if spot.member.many else {"reference": "#p"}
            inner = {"resourceType": "Patient", "id": "p"}
            yield spot.where, changed(tree, spot.place, spot.member.key, value) | {"contained": [inner]}
            return


def with_narrative(tree: Tree) -> Variant:
    """A narrative with the markup that R4 allows, and meta with all that a client may send."""
    div = (
        '<div xmlns="http://www.w3.org/1999/xhtml" lang="ja"><h1>緩和</h1><p style="x"><b>a</b> &lt; <a href="http://x.example">'
        'b</a><br/></p><table><tr><td colspan="2">1</td></tr></table></div>'
    )
    yield "text", tree | {"text": {"status": "additional", "div": div}}
    meta = {
        "tag": [{"system": "http://x.example", "code": "a"}],
        "security": [{"code": "R"}],
        "source": "http://x.example",
    }
    yield (
        "meta",
        tree
        | {
            "meta": {**meta, "profile": ["http://x.example/profile|1"], "lastUpdated": "2031-03-01T09:00:00Z"}
        },
    )
    yield "language", tree | {"language": "ja", "implicitRules": "http://x.example/rules"}


def other_text(tree: Tree) -> Variant:
    """Any text: other scripts, line breaks, markup characters."""
    for spot in spots(tree):
        if spot.member.type_name in ("string", "markdown") and not isinstance(spot.value, list):
            if spot.member.element in ("reference", "version", "linkId", "expression", "family"):
                continue
            yield spot.where, changed(tree, spot.place, spot.member.key, "痛み <8> & 'x'\n\t\"y\" 🩺")


def other_number(tree: Tree) -> Variant:
    """Decimals with trailing zeros and exponents."""
    for spot in spots(tree):
        if spot.member.type_name == "decimal" and not any(
            step in ("low", "high", "position") for step in spot.place
        ):
            for literal in ("1.500", "1.0e1", "0.10000000000000000001"):
                yield (
                    f"{spot.where}={literal}",
                    changed(tree, spot.place, spot.member.key, JsonDecimal(literal)),
                )


VARIANTS: Final[dict[str, Callable[[Tree], Iterator[tuple[str, Any]]]]] = {
    operator.__name__.replace("_", "-"): operator
    for operator in (
        extended,
        beside_a_value,
        shorter_date,
        other_reference,
        contained_and_used,
        with_narrative,
        other_text,
        other_number,
    )
}
