"""What statements about R4's own search parameters must agree with, and references inside Parameters."""

from typing import Any

import pytest

from kanwa_shared.fhir.validation import validate

OFFICIAL = "http://hl7.org/fhir/SearchParameter/"


def _faults(tree: dict[str, Any]) -> list[tuple[str, str]]:
    return [(issue.code, issue.expression[0]) for issue in validate(tree)]


def _statement(**search_parameter: str) -> dict[str, Any]:
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2031-03-05",
        "kind": "requirements",
        "description": "x",
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [
            {
                "mode": "server",
                "resource": [{"type": "Organization", "searchParam": [{"name": "name", **search_parameter}]}],
            }
        ],
    }


@pytest.mark.parametrize(
    ("definition", "type_", "kept"),
    [
        (OFFICIAL + "Organization-name", "string", True),
        (OFFICIAL + "Organization-name|4.0.1", "date", False),
        (OFFICIAL + "Organization-name|3.0.2", "date", True),  # another version may say so
        (OFFICIAL + "Organization-name", "date", False),
        (OFFICIAL + "Measure-version", "string", True),  # a string in R3, and in HL7's R4 example
        ("https://ehr.example/SearchParameter/name", "date", True),
    ],
)
def test_a_stated_search_parameter_has_the_type_of_its_definition(
    definition: str, type_: str, kept: bool
) -> None:
    place = "CapabilityStatement.rest[0].resource[0].searchParam[0].type"
    faults = [] if kept else [("value", place)]
    assert _faults(_statement(definition=definition, type=type_)) == faults


@pytest.mark.parametrize(
    ("base", "type_", "faults"),
    [
        (["Organization"], "string", []),
        (["Organization", "Patient"], "string", [("value", "SearchParameter.base[1]")]),
        (["Organization"], "token", [("value", "SearchParameter.type")]),
    ],
)
def test_a_derived_search_parameter_keeps_base_and_type(
    base: list[str], type_: str, faults: list[tuple[str, str]]
) -> None:
    tree = {
        "resourceType": "SearchParameter",
        "url": "https://kanwa.example/fhir/SearchParameter/x",
        "name": "X",
        "derivedFrom": OFFICIAL + "Organization-name",
        "status": "draft",
        "description": "x",
        "code": "x",
        "base": base,
        "type": type_,
    }
    assert _faults(tree) == faults


@pytest.mark.parametrize(
    ("reference", "kept"),
    [
        ("Patient/1", True),
        ("Patient/2", False),
        ("Practitioner/2", True),  # of this type nothing is carried: it may be in the server
        ("https://ehr.example/fhir/Patient/2", True),
        ("Patient/2/_history/1", True),
    ],
)
def test_a_relative_reference_in_parameters_leads_to_what_they_carry(reference: str, kept: bool) -> None:
    flag = {"resourceType": "Flag", "status": "active", "code": {"text": "x"}, "subject": {}}
    flag["subject"] = {"reference": "Patient/1"}
    flag["author"] = {"reference": reference}
    tree = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "a", "resource": {"resourceType": "Patient", "id": "1"}},
            {"name": "b", "part": [{"name": "c", "resource": flag}]},
        ],
    }
    faults = [] if kept else [("value", "Parameters.parameter[1].part[0].resource.author")]
    assert _faults(tree) == faults
