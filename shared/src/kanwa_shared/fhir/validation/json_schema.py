"""R4's element tables as JSON Schema (2020-12), for whoever reads `/fhir/openapi.json`.

The schemas say what the validator's walk checks of shape: members, arrays, primitives and codes. What they cannot say,
invariants above all, is judged by `validate` alone.
"""

from collections.abc import Iterable
from typing import Any, Final

from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.validation import primitives
from kanwa_shared.fhir.validation.definitions import Member, Part, part

SCHEMAS: Final = "#/components/schemas/"
RESOURCE: Final = "Resource"
_LARGEST_ENUM: Final = 60

_TEXT: Final[Tree] = {"type": "string", "minLength": 1}
_PRIMITIVES: Final[dict[str, Tree]] = {
    "boolean": {"type": "boolean"},
    "decimal": {"type": "number"},
    "integer": {"type": "integer", "minimum": -primitives.MAX_INTEGER - 1, "maximum": primitives.MAX_INTEGER},
    "unsignedInt": {"type": "integer", "minimum": 0, "maximum": primitives.MAX_INTEGER},
    "positiveInt": {"type": "integer", "minimum": 1, "maximum": primitives.MAX_INTEGER},
    **{name: {"type": "string", "pattern": f"^{text}$"} for name, text in primitives.PATTERNS.items()},
    **{
        name: {"type": "string", "pattern": f"^{primitives.PATTERNS['uri']}$"}
        for name in ("url", "canonical")
    },
    **dict.fromkeys(("string", "markdown", "xhtml", "base64Binary"), _TEXT),
}


def schemas_of(resource_types: Iterable[str]) -> dict[str, Tree]:
    """Schemas by name: of the resource types and of every data type and backbone element that they use."""
    names = sorted(resource_types)
    schemas: dict[str, Tree] = {
        RESOURCE: {
            "type": "object",
            "required": ["resourceType"],
            "properties": {"resourceType": {"type": "string", "enum": names}},
        },
        **{name: dict(schema) for name, schema in _PRIMITIVES.items()},
    }
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in schemas:
            found = part(name)
            schemas[name] = _schema(found)
            waiting += [member.part_name for member in found.members.values() if not _is_leaf(member)]
    return schemas


def _is_leaf(member: Member) -> bool:
    return (member.test is not None and not member.sibling) or member.part_name == RESOURCE


def _schema(found: Part) -> Tree:
    properties: Tree = {"resourceType": {"const": found.name}} if found.is_resource else {}
    required = ["resourceType"] if found.is_resource else []
    for member in found.members.values():
        schema = _value(member)
        properties[member.key] = {"type": "array", "items": schema, "minItems": 1} if member.many else schema
    one_of: list[Tree] = []
    for _, keys in found.required:
        if len(keys) == 2:  # the element and its `_` sibling, which is for extensions alone
            required.append(keys[0])
        else:
            one_of.append({"anyOf": [{"required": [key]} for key in keys]})
    schema: Tree = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = list(dict.fromkeys(required))
    return {**schema, "allOf": one_of} if one_of else schema


def _value(member: Member) -> Any:
    if member.sibling:
        reference: Tree = {"$ref": SCHEMAS + "Element"}
        return {"oneOf": [reference, {"type": "null"}]} if member.many else reference
    if member.test is None:
        return {"$ref": SCHEMAS + member.part_name}
    if member.flat_codes and member.type_name == "code" and len(member.flat_codes) <= _LARGEST_ENUM:
        return {"type": "string", "enum": sorted(member.flat_codes)}
    reference = {"$ref": SCHEMAS + member.type_name}
    return {"oneOf": [reference, {"type": "null"}]} if member.many else reference
