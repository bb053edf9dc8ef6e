"""Recorded consumer contracts, and whether the producers' AsyncAPI document still keeps them.

A contract lists, for each resource type, the interactions that the consumer takes, and the members of the resource that
it reads with their JSON types (`[]` for arrays). A producer may add anything; what is recorded must stay.
"""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from kanwa_shared.messaging.topology import matches

FOLDER = Path(__file__).parents[1] / "contract" / "consumers"
Tree = dict[str, Any]


def recorded() -> dict[str, Tree]:
    """The contract of each consumer, by its name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def breaches(contract: Tree, document: Tree) -> list[str]:
    """What of `contract` the document does not promise any more; empty if it is kept."""
    found: list[str] = []
    schemas = document["components"]["schemas"]
    exchange = document["channels"]["events"]["bindings"]["amqp"]["exchange"]
    if (exchange["name"], exchange["type"]) != ("kanwa.events", "topic"):
        found.append(f"events are on {exchange['name']} ({exchange['type']})")
    attributes = schemas["attributes"]
    for name, expected in contract["attributes"].items():
        if name not in attributes["required"]:
            found.append(f"attribute {name} may be absent")
        if _kind(attributes["properties"].get(name)) != expected:
            found.append(f"attribute {name} is {_kind(attributes['properties'].get(name))}, not {expected}")
    for owned, wanted in contract["events"].items():
        service, _, resource_type = owned.partition(".")
        for interaction in wanted["interactions"]:
            found += _event_breaches(contract, document, f"{service}.{resource_type}.{interaction}")
        members = schemas.get(resource_type, {}).get("properties", {})
        for name, expected in wanted["data"].items():
            if _kind(members.get(name)) != expected:
                found.append(f"{resource_type}.{name} is {_kind(members.get(name))}, not {expected}")
    return found


def check_event(told: Tree, schema: str, document: Tree) -> None:
    """Raise jsonschema's ValidationError unless the document's schema of that name takes the event."""
    whole = {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}
    Draft202012Validator(whole).validate(told)


def _event_breaches(contract: Tree, document: Tree, key: str) -> list[str]:
    name = f"kanwa.{key}.v1"
    if not any(matches(pattern, key) for pattern in contract["bindings"]):
        return [f"{key} is not bound to {contract['bindings']}"]
    if (
        name not in document["channels"]["events"]["messages"]
        or name not in document["components"]["schemas"]
    ):
        return [f"there is no event {name}"]
    own = document["components"]["schemas"][name]["allOf"][1]
    if own["properties"]["type"] != {"const": name}:
        return [f"{name} says it is {own['properties']['type']}"]
    if not key.endswith(".delete") and "data" not in own.get("required", ()):
        return [f"{name} may come without its resource"]
    return []


def _kind(schema: Tree | None) -> str:
    if schema is None:
        return "absent"
    if "const" in schema:
        return "string" if isinstance(schema["const"], str) else "other"
    if schema.get("type") == "array":
        items = schema["items"]["type"]
        return f"{items if isinstance(items, str) else items[0]}[]"
    return str(schema.get("type"))
