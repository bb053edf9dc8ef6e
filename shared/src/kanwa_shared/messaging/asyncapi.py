"""The AsyncAPI 3 document of the events; see https://www.asyncapi.com/docs/reference/specification/v3.0.0."""

from functools import cache
from typing import Any, Final

import msgspec

from kanwa_shared.fhir.validation import RESOURCE_TYPES
from kanwa_shared.messaging.envelope import INTERACTIONS, event_type
from kanwa_shared.messaging.event_schema import (
    Schema,
    attributes,
    event_schema,
    event_types,
    notification_schema,
    resource_schema,
)
from kanwa_shared.messaging.topology import Topology
from kanwa_shared.ownership import owner_of

VERSION: Final = "1.0.0"
CONTENT_TYPE: Final = "application/cloudevents+json"
DEFINITIONS: Final = "#/components/schemas/"
_ADDRESS: Final = "{service}.{resourceType}.{interaction}"


@cache
def document_bytes(prefix: str) -> bytes:
    """The document as JSON; `prefix` begins the exchanges' names."""
    return msgspec.json.encode(document(prefix))


def document(prefix: str = "kanwa") -> dict[str, Any]:
    """The document as a tree."""
    topology = Topology((), prefix)
    messages = {
        event_type(*named): {
            "name": event_type(*named),
            "title": f"{named[1]} {named[2]}",
            "contentType": CONTENT_TYPE,
            "payload": {"$ref": DEFINITIONS + event_type(*named)},
        }
        for named in event_types()
    }
    messages["notification"] = {
        "name": "notification",
        "title": "Any event without its resource",
        "contentType": CONTENT_TYPE,
        "payload": {"$ref": f"{DEFINITIONS}notification"},
    }
    references = {name: {"$ref": f"#/components/messages/{name}"} for name in messages}
    carried = {name: reference for name, reference in references.items() if name != "notification"}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "kanwa events",
            "version": VERSION,
            "description": "Every version that a service commits is one event. Versions of one resource arrive in "
            "order, at least once, with the same id; `sequence` has no gap per source.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {
            "events": _exchange(topology.events, "Events with their resources: patient data.", carried),
            "notifications": _exchange(
                topology.notifications,
                "The same without resources, for programs outside the trust zone.",
                {"notification": references["notification"]},
            ),
            "stream": {
                "address": "/events",
                "description": "All events as Server-Sent Events; `Last-Event-ID` resumes.",
                "messages": carried,
                "bindings": {"http": {"bindingVersion": "0.3.0"}},
            },
        },
        "operations": {
            f"send{name.capitalize()}": {"action": "send", "channel": {"$ref": f"#/channels/{name}"}}
            for name in ("events", "notifications", "stream")
        },
        "components": {"messages": messages, "schemas": _schemas()},
    }


def _schemas() -> dict[str, Schema]:
    return {
        "attributes": attributes(),
        "notification": notification_schema(definitions=DEFINITIONS),
        **{name: resource_schema(name) for name in sorted(RESOURCE_TYPES)},
        **{event_type(*named): event_schema(*named, definitions=DEFINITIONS) for named in event_types()},
    }


def _exchange(name: str, description: str, messages: dict[str, Any]) -> dict[str, Any]:
    return {
        "address": _ADDRESS,
        "description": description,
        "messages": messages,
        "parameters": {
            "service": {"enum": sorted({owner_of(resource_type) for resource_type in RESOURCE_TYPES})},
            "resourceType": {"description": "A type of FHIR R4."},
            "interaction": {"enum": list(INTERACTIONS)},
        },
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {"name": name, "type": "topic", "durable": True, "autoDelete": False},
                "bindingVersion": "0.3.0",
            }
        },
    }
