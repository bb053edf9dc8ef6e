"""Reads FHIR's XML into the JSON tree of the same resource, for suites that HL7 publishes as XML only.

Each element's JSON form comes from R4's element tables. Numbers keep the digits of their `value` attribute.
"""

from typing import Any, Final
from xml.etree.ElementTree import Element, fromstring, tostring

from kanwa_shared.fhir.json_text import JsonDecimal
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.validation.definitions import Member, Part, part

_FHIR: Final = "{http://hl7.org/fhir}"
_XHTML: Final = "http://www.w3.org/1999/xhtml"
_INTEGERS: Final = frozenset({"integer", "positiveInt", "unsignedInt"})


def read_document(text: bytes) -> Element:
    """The root element of a file that was published with the tests."""
    return fromstring(text)  # noqa: S314  # a file of the tests, not one that a client sent


def resource_of(element: Element) -> Tree:
    """A resource's tree. Raises KeyError for an element that R4 does not have."""
    name = element.tag.removeprefix(_FHIR)
    return {"resourceType": name, **_members(element, part(name))}


def _members(element: Element, kind: Part) -> Tree:
    tree: Tree = dict(element.attrib)
    tree.pop("value", None)
    for child in element:
        if child.tag == f"{{{_XHTML}}}div":
            tree["div"] = _narrative(child)
            continue
        member = kind.members[child.tag.removeprefix(_FHIR)]
        value, beside = _value(child, member), _beside(child, member)
        if member.many:
            _append(tree, member.key, value, beside)
        else:
            tree |= {member.key: value} if value is not None else {}
            tree |= {f"_{member.key}": beside} if beside else {}
    return tree


def _append(tree: Tree, key: str, value: Any, beside: Tree | None) -> None:
    values = tree.setdefault(key, [])
    values.append(value)
    if beside:
        siblings = tree.setdefault(f"_{key}", [])
        siblings += [None] * (len(values) - 1 - len(siblings)) + [beside]


def _value(element: Element, member: Member) -> Any:
    if member.part_name == "Resource":
        return resource_of(element[0])
    if member.test is None:
        return _members(element, member.part)
    text = element.get("value")
    if text is None:
        return None
    if member.type_name == "boolean":
        return text == "true"
    if member.type_name == "decimal":
        return JsonDecimal(text) if any(character in text for character in ".eE") else int(text)
    return int(text) if member.type_name in _INTEGERS else text


def _beside(element: Element, member: Member) -> Tree | None:
    """The id and extensions of a primitive."""
    return _members(element, part("Element")) or None if member.test is not None else None


def _narrative(element: Element) -> str:
    for inner in element.iter():
        inner.tag = inner.tag.removeprefix(f"{{{_XHTML}}}")
    element.set("xmlns", _XHTML)
    element.tail = None
    return tostring(element, encoding="unicode")
