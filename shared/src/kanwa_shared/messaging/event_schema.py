"""JSON Schema (2020-12) of what crosses the exchanges, from the tables that the code itself works with.

The attributes are those of the encoder in `envelope.py`, the types of events those of `ownership.py`, the members of a
resource R4's element tables that validation walks along. Nothing is written by hand twice, so a change of the code is a
change of the schema, and a recorded consumer contract (tests/contract/consumers) notices it.
"""

import re
from functools import cache
from typing import Any, Final

import msgspec

from kanwa_shared.fhir.validation import RESOURCE_TYPES
from kanwa_shared.fhir.validation.definitions import Member, part
from kanwa_shared.messaging.envelope import (
    EVENT_SUBJECT,
    EVENT_VERSION,
    INTERACTIONS,
    RESOURCE_CONTENT_TYPE,
    SOURCE_BASE,
    Wire,
    event_type,
)
from kanwa_shared.ownership import owner_of

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
#: What every event has beside the members that CloudEvents demands.
_ALWAYS: Final = ("sequence",)
#: Of hand-overs between services alone.
_NOT_IN_EVENTS: Final = ("target", "baseversion", "data")
_JSON_TYPES: Final = {
    "boolean": "boolean",
    "integer": "integer",
    "unsignedInt": "integer",
    "positiveInt": "integer",
    "decimal": "number",
}


def event_types() -> list[tuple[str, str, str]]:
    """Service, resource type and interaction of every event that there can be."""
    return [
        (owner_of(resource_type), resource_type, interaction)
        for resource_type in sorted(RESOURCE_TYPES)
        for interaction in INTERACTIONS
    ]


@cache
def attributes() -> Schema:
    """The attributes of an event, without its type, its subject and its data in particular."""
    schema: Any = msgspec.json.schema(Wire)["$defs"][Wire.__name__]
    properties = {
        name: _without_null(rule) for name, rule in schema["properties"].items() if name not in _NOT_IN_EVENTS
    }
    properties["specversion"] = {"const": "1.0"}
    properties["time"] |= {"format": "date-time", "description": "of the commit"}
    properties["source"] |= {"pattern": f"^{SOURCE_BASE}[a-z][a-z0-9-]*$"}
    properties["sequence"] |= {"minimum": 1, "description": "without a gap per source"}
    properties["datacontenttype"] = {"const": RESOURCE_CONTENT_TYPE}
    properties["subject"] |= {"pattern": f"^{_ecma(EVENT_SUBJECT.pattern)}$"}
    return {
        "title": "Attributes of every event (CloudEvents 1.0, structured JSON)",
        "type": "object",
        "required": ["specversion", *schema["required"], *_ALWAYS],
        "properties": properties,
    }


def event_schema(service: str, resource_type: str, interaction: str, *, definitions: str) -> Schema:
    """An event on `kanwa.events`; `definitions` is where `attributes` and the resources' schemas stand."""
    named = {
        "type": {"const": event_type(service, resource_type, interaction)},
        "source": {"const": SOURCE_BASE + service},
        "subject": {"pattern": f"^{resource_type}/"},
    }
    own: Schema = {"properties": named}
    if interaction == "delete":
        own["not"] = {"required": ["data"]}
    else:
        own["properties"] |= {"data": {"$ref": f"{definitions}{resource_type}"}}
        own["required"] = ["data", "datacontenttype"]
    return {
        "title": f"{resource_type} {interaction}, version {EVENT_VERSION}",
        "allOf": [{"$ref": f"{definitions}attributes"}, own],
    }


def notification_schema(*, definitions: str) -> Schema:
    """Any event on `kanwa.notifications`: the attributes and no resource."""
    types = [event_type(*named) for named in event_types()]
    return {
        "title": "An event without its resource",
        "allOf": [
            {"$ref": f"{definitions}attributes"},
            {"properties": {"type": {"enum": types}}, "not": {"required": ["data"]}},
        ],
    }


def resource_schema(resource_type: str) -> Schema:
    """The members of a resource by R4; what they hold is described at `externalDocs`."""
    table = part(resource_type)
    members = {name: _member(member) for name, member in table.members.items()}
    required = [_one_of(alternatives) for _, alternatives in table.required]
    schema: Schema = {
        "title": f"{resource_type} (FHIR R4)",
        "externalDocs": {"url": f"https://hl7.org/fhir/R4/{resource_type.lower()}.html"},
        "type": "object",
        "required": ["resourceType", "id", "meta"],
        "properties": {"resourceType": {"const": resource_type}, **members},
        "additionalProperties": False,
    }
    return schema | ({"allOf": required} if required else {})


def _one_of(alternatives: tuple[str, ...]) -> Schema:
    return {"anyOf": [{"required": [name]} for name in alternatives]}


def _member(member: Member) -> Schema:
    if member.sibling:
        one: Schema = {"type": ["object", "null"]} if member.many else {"type": "object"}
    elif member.test is None:
        one = {"type": "object"}
    else:
        plain = _JSON_TYPES.get(member.type_name, "string")
        one = {"type": [plain, "null"]} if member.many else {"type": plain}
    return {"type": "array", "items": one} if member.many else one


def _without_null(rule: Schema) -> Schema:
    """None is what the encoder leaves out; it is never sent."""
    given = [option for option in rule.get("anyOf", ()) if option != {"type": "null"}]
    return dict(given[0]) if given else {name: value for name, value in rule.items() if name != "default"}


def _ecma(pattern: str) -> str:
    """The same without names of groups, which JSON Schema's dialect writes in another way."""
    return re.sub(r"\(\?P<\w+>", "(", pattern)
