"""What producers promise of events, and what each consumer has recorded that it needs of it."""

import copy
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from kanwa.services import SERVICES, topology
from kanwa_shared.fhir.validation.definitions import part
from kanwa_shared.messaging.asyncapi import document
from kanwa_shared.messaging.envelope import Event
from kanwa_shared.messaging.event_schema import event_types
from tests.support.event_contracts import breaches, check_event, recorded

DOCUMENT = document()
CONTRACTS = recorded()
Tree = dict[str, Any]


def event(interaction: str = "update", **changes: Any) -> Event:
    """An event of a Task as the relay builds it."""
    tree = {
        "resourceType": "Task",
        "id": "t1",
        "meta": {"versionId": "2", "lastUpdated": "2026-11-25T08:00:00Z"},
        "status": "accepted",
        "intent": "order",
        **changes,
    }
    return Event.of(
        id="8a0c52f2-0d7b-4c3c-a55c-2d1f2a9f1a11",
        service="intake",
        resource_type="Task",
        resource_id="t1",
        version=2,
        interaction=interaction,
        time=datetime.now(UTC),
        sequence=7,
        body=None if interaction == "delete" else json.dumps(tree).encode(),
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )


@pytest.mark.parametrize("consumer", CONTRACTS)
def test_producers_keep_what_the_consumer_has_recorded(consumer: str) -> None:
    assert breaches(CONTRACTS[consumer], DOCUMENT) == []


def test_every_consumer_has_a_contract_and_it_names_its_bindings() -> None:
    bound = {binding.consumer: sorted(binding.patterns) for binding in topology().bindings}
    assert set(bound) == set(SERVICES) == set(CONTRACTS)
    assert bound == {name: sorted(contract["bindings"]) for name, contract in CONTRACTS.items()}


def schemas(changed: Tree) -> Tree:
    return changed["components"]["schemas"]


def _is_no_longer_numbered(changed: Tree) -> None:
    schemas(changed)["attributes"]["required"].remove("sequence")


def _has_text_for_a_number(changed: Tree) -> None:
    schemas(changed)["attributes"]["properties"]["sequence"] = {"type": "string"}


def _has_a_new_name(changed: Tree) -> None:
    for told in (schemas(changed), changed["channels"]["events"]["messages"]):
        told["kanwa.intake.Task.update.v2"] = told.pop("kanwa.intake.Task.update.v1")


def _may_lack_its_resource(changed: Tree) -> None:
    del schemas(changed)["kanwa.intake.Task.update.v1"]["allOf"][1]["required"]


def _lacks_a_member(changed: Tree) -> None:
    del schemas(changed)["Task"]["properties"]["focus"]


def _has_a_list_for_one(changed: Tree) -> None:
    schemas(changed)["Task"]["properties"]["focus"] = {"type": "array", "items": {"type": "object"}}


def _goes_elsewhere(changed: Tree) -> None:
    changed["channels"]["events"]["bindings"]["amqp"]["exchange"]["name"] = "kanwa.changes"


@pytest.mark.parametrize(
    "breaking",
    [
        _is_no_longer_numbered,
        _has_text_for_a_number,
        _has_a_new_name,
        _may_lack_its_resource,
        _lacks_a_member,
        _has_a_list_for_one,
        _goes_elsewhere,
    ],
)
def test_a_breaking_change_is_noticed(breaking: Callable[[Tree], None]) -> None:
    changed = copy.deepcopy(DOCUMENT)
    breaking(changed)
    assert breaches(CONTRACTS["mdt"], changed)


def test_a_change_of_the_producers_code_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(part("Task").members, "focus")
    assert "Task.focus is absent, not object" in breaches(CONTRACTS["scheduling"], document())


def test_something_new_breaks_nobody() -> None:
    changed = copy.deepcopy(DOCUMENT)
    schemas(changed)["Task"]["properties"]["new"] = {"type": "string"}
    schemas(changed)["attributes"]["properties"]["new"] = {"type": "string"}
    assert [breaches(contract, changed) for contract in CONTRACTS.values()] == [[]] * len(CONTRACTS)


def test_every_schema_is_one_and_every_reference_leads_somewhere() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for reference in _references(DOCUMENT):
        place: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def _references(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        if isinstance(tree.get("$ref"), str):
            yield tree["$ref"]
        for value in tree.values():
            yield from _references(value)


def test_the_document_names_every_event_that_there_can_be() -> None:
    names = {f"kanwa.{service}.{kind}.{interaction}.v1" for service, kind, interaction in event_types()}
    assert DOCUMENT["channels"]["events"]["messages"].keys() == names


@pytest.mark.parametrize("interaction", ["create", "update", "delete"])
def test_what_the_relay_sends_is_what_the_schema_says(interaction: str) -> None:
    sent = event(interaction)
    check_event(json.loads(sent.to_cloudevent()), sent.type, DOCUMENT)
    check_event(json.loads(sent.to_cloudevent(include_resource=False)), "notification", DOCUMENT)


def test_the_schema_refuses_what_is_not_so() -> None:
    sent = event()
    told = json.loads(sent.to_cloudevent())
    wrong: list[tuple[Tree, str]] = [
        ({**told, "sequence": "7"}, sent.type),
        ({name: value for name, value in told.items() if name != "data"}, sent.type),
        ({**told, "type": "kanwa.intake.Task.create.v1"}, sent.type),
        ({**told, "data": {**told["data"], "focus": []}}, sent.type),
        ({**told, "data": {**told["data"], "invented": 1}}, sent.type),
        (told, "notification"),
        (told, "kanwa.intake.Task.delete.v1"),
    ]
    for instance, schema in wrong:
        with pytest.raises(ValidationError):
            check_event(instance, schema, DOCUMENT)
