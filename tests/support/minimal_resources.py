"""The smallest resource of a type that R4's tables ask for, with values of each data type from a short list."""

from typing import Any, Final

from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.validation import validate
from kanwa_shared.fhir.validation.definitions import Member, part

_VALUES: Final[dict[str, Any]] = {
    "boolean": True,
    "integer": 1,
    "unsignedInt": 1,
    "positiveInt": 1,
    "decimal": 1,
    "string": "x",
    "markdown": "x",
    "code": "x",
    "id": "x",
    "uri": "http://x.example/a",
    "url": "http://x.example/a",
    "canonical": "http://x.example/a",
    "oid": "urn:oid:1.2.3",
    "uuid": "urn:uuid:6f2b4f6e-7f0e-4f5c-9c43-0a4f6f1c8d11",
    "base64Binary": "YWJj",
    "date": "2026-11-25",
    "dateTime": "2026-11-25",
    "instant": "2026-11-25T08:00:00Z",
    "time": "08:00:00",
    "xhtml": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>',
    "CodeableConcept": {"text": "x"},
    "Coding": {"system": "http://x.example", "code": "x"},
    "Identifier": {"value": "x"},
    "Quantity": {"value": 1, "unit": "x", "system": "http://unitsofmeasure.org", "code": "1"},
    "Period": {"start": "2026"},
    "HumanName": {"text": "x"},
    "Attachment": {"contentType": "text/plain", "data": "YWJj"},
    "Money": {"value": 1, "currency": "JPY"},
    "Timing": {"event": ["2026-11-25"]},
    "Annotation": {"text": "x"},
}
#: What a required reference points to where any type may be meant.
_TARGET: Final = "Patient"


def minimal(resource_type: str) -> Tree | None:
    """A valid resource, None where more than the required elements is needed."""
    tree: Tree = {"resourceType": resource_type, **_object(resource_type)}
    return None if validate(tree) else tree


def _object(name: str) -> Tree:
    found = part(name)
    tree: Tree = {}
    for element, _ in found.required:
        member = next(each for each in found.members.values() if each.element == element and not each.sibling)
        value = _value(member)
        tree[member.key] = [value] if member.many else value
    return tree


def _value(member: Member) -> Any:
    if member.flat_codes and member.type_name == "code":
        return min(member.flat_codes)
    if member.type_name == "Reference":
        return {"reference": f"{min(member.targets) if member.targets else _TARGET}/x"}
    if member.type_name == "Resource":
        return {"resourceType": "Basic", "code": {"text": "x"}}
    if member.type_name in _VALUES:
        return _VALUES[member.type_name]
    return _object(member.part_name)
