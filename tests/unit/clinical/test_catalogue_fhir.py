"""The catalogue as FHIR, judged by kanwa's validation and by two libraries that know nothing of it."""

from collections.abc import Iterator
from typing import Any

import fhirkit
import pytest
from fhir.resources.R4B import get_fhir_model_class

from kanwa_shared.clinical import codes
from kanwa_shared.clinical.catalogue import catalogue, measures
from kanwa_shared.clinical.catalogue_fhir import catalogue_resources, document_of, plan_definition
from kanwa_shared.fhir.json_text import dumps
from kanwa_shared.fhir.validation import validate

Tree = dict[str, Any]
RESOURCES = [pytest.param(tree, id=f"{tree['resourceType']}-{tree['id']}") for tree in catalogue_resources()]


def resource(resource_type: str, id: str) -> Tree:
    return next(t for t in catalogue_resources() if (t["resourceType"], t["id"]) == (resource_type, id))


@pytest.mark.parametrize("tree", RESOURCES)
def test_every_resource_is_valid_r4(tree: Tree) -> None:
    body = dumps(tree)
    assert validate(tree, body) == []
    get_fhir_model_class(tree["resourceType"]).model_validate_json(body)
    assert fhirkit.validate(body) == []


def test_ids_are_unique() -> None:
    keys = [(tree["resourceType"], tree["id"]) for tree in catalogue_resources()]
    assert len(keys) == len(set(keys))


def test_the_procedure_code_system_lists_the_catalogue_with_group_class_and_duration() -> None:
    system = resource("CodeSystem", "ir-procedure")
    assert system["url"] == "https://kanwa.example/fhir/CodeSystem/ir-procedure"
    assert [concept["code"] for concept in system["concept"]] == list(catalogue())
    assert system["count"] == 35
    declared = {prop["code"] for prop in system["property"]}
    for concept in system["concept"]:
        used = {prop["code"] for prop in concept["property"]}
        assert used == declared


def test_every_procedure_has_a_plan_definition_under_its_code() -> None:
    plans = [tree["id"] for tree in catalogue_resources() if tree["resourceType"] == "PlanDefinition"]
    assert plans == list(catalogue())


@pytest.mark.parametrize("code", list(catalogue()))
def test_a_plan_carries_every_acceptable_coding_of_its_measures(code: str) -> None:
    entry, plan = catalogue()[code], plan_definition(catalogue()[code])
    follow_ups = [action for action in plan["action"] if action["id"].startswith("follow-up")]
    assert [action["relatedAction"][0]["offsetDuration"]["value"] for action in follow_ups] == list(
        entry.follow_up_days
    )
    for action in follow_ups:
        offered = [output["codeFilter"][0]["code"] for output in action["output"]]
        assert offered == [measure.codings() for measure in entry.follow_up.measures]
    closing = [action for action in follow_ups if "goalId" in action]
    assert [action["id"] for action in closing] == [f"follow-up-day-{entry.follow_up.primary_day}"]
    assert plan["goal"][0]["target"][0]["measure"]["coding"] == entry.primary_measure.codings()


def test_no_length_of_stay_is_guessed_anywhere() -> None:
    for tree in catalogue_resources():
        if tree["resourceType"] == "PlanDefinition":
            assert "Length of stay: ask site" in tree["purpose"]


def test_no_snomed_ct_code_is_shipped() -> None:
    for coding in codings(list(catalogue_resources())):
        assert coding.get("system") != "http://snomed.info/sct"
    assert "group" not in resource("ConceptMap", "ir-procedure-to-snomed-ct")


def test_every_kanwa_coding_in_the_resources_is_defined_with_that_display() -> None:
    for coding in codings(list(catalogue_resources())):
        if coding.get("system") in codes.CODES or coding.get("system") == codes.LOINC:
            assert coding["display"] == codes.display_of(coding["system"], coding["code"])


def test_the_measures_say_their_unit_and_their_loinc_code() -> None:
    system = resource("CodeSystem", "measure")
    assert [concept["code"] for concept in system["concept"]] == list(measures())
    pain = {prop["code"]: prop for prop in system["concept"][0]["property"]}
    assert pain["same-as"]["valueCoding"]["code"] == "72514-3"
    assert pain["unit"]["valueString"] == "{score}"


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("doi:10.1093/annonc/mdp242 (JIVROSG-0202)", "https://doi.org/10.1093/annonc/mdp242"),
        ("PMC5396842", "https://www.ncbi.nlm.nih.gov/pmc/articles/PMC5396842/"),
        ("PMID 23065947", "https://pubmed.ncbi.nlm.nih.gov/23065947/"),
        ("NICE MTG9", None),
    ],
)
def test_a_source_leads_to_its_document_where_it_has_a_number(source: str, address: str | None) -> None:
    assert document_of(source) == address


def codings(value: Any) -> Iterator[Tree]:
    if isinstance(value, list):
        for each in value:
            yield from codings(each)
    elif isinstance(value, dict):
        if "system" in value and "code" in value:
            yield value
        for each in value.values():
            yield from codings(each)
