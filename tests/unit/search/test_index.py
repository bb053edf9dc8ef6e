"""What a resource is found by, in cases worked by hand from R4, and for every path of every type."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from kanwa_shared.fhir.json_text import parse
from kanwa_shared.fhir.search import IndexRows, index, parse_search, search_parameters
from kanwa_shared.fhir.search.dates import EARLIEST, LATEST
from kanwa_shared.fhir.search.definitions import ElementPath, SearchParameter, all_types, parameters_of
from kanwa_shared.fhir.validation import RESOURCE_TYPES

Tree = dict[str, Any]


def test_a_referral_is_found_by_its_codes_references_and_dates() -> None:
    rows = index(
        {
            "resourceType": "ServiceRequest",
            "id": "1",
            "meta": {"tag": [{"system": "urn:t", "code": "demo"}], "profile": ["http://p|1.0"]},
            "identifier": [
                {
                    "type": {"coding": [{"system": "urn:v2-0203", "code": "PLAC"}]},
                    "system": "urn:oid:1.2",
                    "value": "A-1",
                }
            ],
            "status": "active",
            "intent": "order",
            "code": {"coding": [{"system": "urn:ir", "code": "tips"}, {"code": "local"}], "text": "TIPS"},
            "subject": {"reference": "Patient/9"},
            "requester": {"identifier": {"value": "dr-1"}},
            "authoredOn": "2026-03-05T08:00:00+09:00",
            "occurrencePeriod": {"start": "2026-03"},
        }
    )
    assert sorted(rows.tokens) == [
        "ServiceRequest._profile:present",
        "ServiceRequest._profile=http://p",
        "ServiceRequest._profile=http://p|1.0",
        "ServiceRequest._tag:present",
        "ServiceRequest._tag=demo",
        "ServiceRequest._tag|urn:t|",
        "ServiceRequest._tag|urn:t|demo",
        "ServiceRequest.code:present",
        "ServiceRequest.code=local",
        "ServiceRequest.code=tips",
        "ServiceRequest.code|urn:ir|",
        "ServiceRequest.code|urn:ir|tips",
        "ServiceRequest.code||local",
        "ServiceRequest.identifier:of-type=urn:v2-0203|PLAC|A-1",
        "ServiceRequest.identifier:present",
        "ServiceRequest.identifier=A-1",
        "ServiceRequest.identifier|urn:oid:1.2|",
        "ServiceRequest.identifier|urn:oid:1.2|A-1",
        "ServiceRequest.intent=order",
        "ServiceRequest.patient:present",
        "ServiceRequest.requester:identifier=dr-1",
        "ServiceRequest.requester:identifier||dr-1",
        "ServiceRequest.requester:present",
        "ServiceRequest.status=active",
        "ServiceRequest.subject=Patient/9",
    ]
    assert rows.references == [("subject", "Patient", "9")]
    assert rows.dates == [
        ("authored", datetime(2026, 3, 4, 23, tzinfo=UTC), datetime(2026, 3, 4, 23, 0, 1, tzinfo=UTC)),
        ("occurrence", datetime(2026, 3, 1, tzinfo=UTC), LATEST),
    ]
    assert (rows.quantities, rows.strings) == ([], [])


def test_an_observation_is_found_by_value_and_by_each_component() -> None:
    rows = index(
        parse(
            b"""{"resourceType": "Observation", "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "85354-9"}]},
            "valueQuantity": {"value": 1.50, "unit": "mmHg", "system": "http://unitsofmeasure.org",
                              "code": "mm[Hg]"},
            "component": [{"code": {"coding": [{"code": "8480-6"}]},
                           "valueQuantity": {"value": 120, "comparator": "<", "unit": "x"}}]}"""
        )
    )
    ucum = "http://unitsofmeasure.org"
    below = (-Decimal("Infinity"), Decimal(120), "", "\nx")
    assert rows.quantities == [
        ("value-quantity", Decimal("1.5"), Decimal("1.5"), ucum, "mm[Hg]\nmmHg"),
        ("component-code-value-quantity=8480-6", *below),
        ("component-code-value-quantity||8480-6", *below),
        ("component-value-quantity", *below),
    ]


def test_names_are_written_once_for_all_parameters_that_show_them() -> None:
    rows = index(
        {
            "resourceType": "Patient",
            "name": [
                {"text": "Dr. Anna Müller", "family": "Müller", "given": ["Anna", None], "prefix": ["Dr."]}
            ],
            "address": [{"city": "Tōkyō", "line": ["1-2-3"], "country": "JP"}],
            "telecom": [{"system": "phone", "value": "555"}, {"system": "email", "value": "a@b"}],
            "deceasedDateTime": "2026",
        }
    )
    assert sorted(rows.strings) == [
        ("address", "1-2-3", "1-2-3"),
        ("address-city", "tokyo", "Tōkyō"),
        ("address-country", "jp", "JP"),
        ("family", "muller", "Müller"),
        ("given", "anna", "Anna"),
        ("name", "dr.", "Dr."),
        ("name", "dr. anna muller", "Dr. Anna Müller"),
    ]
    assert {
        "Patient.phone=555",
        "Patient.email=a@b",
        "Patient.telecom|phone|555",
        "Patient.deceased=true",
    } <= set(rows.tokens)
    assert "Patient.phone=a@b" not in rows.tokens
    assert ("death-date", datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)) in rows.dates


def test_a_patient_who_is_not_said_to_be_dead_is_found_as_alive() -> None:
    assert "Patient.deceased=false" in index({"resourceType": "Patient"}).tokens
    assert "Patient.deceased=false" in index({"resourceType": "Patient", "deceasedBoolean": False}).tokens


THERE, LOGICAL, PATIENT = "patient:present", "subject:identifier", ("subject", "Patient", "1")


@pytest.mark.parametrize(
    ("reference", "tokens", "references"),
    [
        ({"reference": "Group/1"}, ["subject=Group/1"], [("subject", "Group", "1")]),
        ({"reference": "https://own.test/fhir/Patient/1"}, [THERE, "subject=Patient/1"], [PATIENT]),
        ({"reference": "https://other.test/Patient/1"}, [THERE, "subject=https://other.test/Patient/1"], []),
        ({"reference": "urn:uuid:5", "type": "Patient"}, [THERE, "subject=urn:uuid:5"], []),
        ({"reference": "#in"}, [THERE], []),
        ({"reference": "Patient/1/_history/4"}, [THERE, "subject=Patient/1"], [PATIENT]),
        ({"type": "Group", "identifier": {"value": "g"}}, [LOGICAL + "=g", LOGICAL + "||g"], []),
        ({"display": "somebody"}, [], []),
    ],
)  # fmt: skip
def test_a_reference_is_indexed_by_what_it_points_to(
    reference: Tree, tokens: list[str], references: list[tuple[str, str, str]]
) -> None:
    tree = {
        "resourceType": "ServiceRequest",
        "contained": [{"resourceType": "Patient", "id": "in"}],
        "subject": reference,
    }
    rows = index(tree, base_url="https://own.test/fhir")
    found = sorted(
        token.removeprefix("ServiceRequest.")
        for token in rows.tokens
        if "subject" in token or "patient" in token
    )
    assert (found, rows.references) == (tokens, references)


def test_a_timing_is_found_between_its_outer_limits() -> None:
    rows = index(
        {
            "resourceType": "ServiceRequest",
            "occurrenceTiming": {
                "event": ["2026-03-09", "2026-03-02"],
                "repeat": {"boundsPeriod": {"end": "2026-03-05"}},
            },
        }
    )
    assert rows.dates == [("occurrence", EARLIEST, datetime(2026, 3, 10, tzinfo=UTC))]


def test_a_timing_that_names_no_date_may_be_at_any_time() -> None:
    timing = {"repeat": {"frequency": 3, "period": 1, "periodUnit": "wk"}}
    rows = index({"resourceType": "ServiceRequest", "occurrenceTiming": timing})
    assert rows.dates == [("occurrence", EARLIEST, LATEST)]


@pytest.mark.parametrize(
    ("data", "low", "high"),
    [
        ("3 1 2", "7.0", "11.0"),
        ("E 2 E", "9.0", "9.0"),
        ("L 2", "-Infinity", "9.0"),
        ("1 U", "7.0", "Infinity"),
        ("L", "-Infinity", "Infinity"),
    ],
)
def test_sampled_data_is_found_by_the_bounds_of_its_samples(data: str, low: str, high: str) -> None:
    origin = {"value": Decimal("5.0"), "system": "http://unitsofmeasure.org", "code": "mV"}
    sampled = {"origin": origin, "factor": 2, "lowerLimit": -9, "data": data}
    (row, *_) = index({"resourceType": "Observation", "valueSampledData": sampled}).quantities
    assert row[1:] == (Decimal(low), Decimal(high), "http://unitsofmeasure.org", "mV")


def test_telephones_and_addresses_are_compared_without_case() -> None:
    telecom = [{"system": "email", "value": "A.Sato@Hospital.example"}]
    tokens = set(index({"resourceType": "Patient", "telecom": telecom}).tokens)
    for query in ("email|a.SATO@hospital.example", "a.sato@hospital.EXAMPLE", "email|"):
        (condition,) = parse_search("Patient", [("telecom", query)]).condition.conditions
        assert set(condition.any_of) <= tokens, query


def test_a_date_without_zone_is_one_of_the_hospital() -> None:
    rows = index({"resourceType": "Patient", "birthDate": "1970-07-02"}, zone=ZoneInfo("Asia/Tokyo"))
    assert rows.dates[0][1] == datetime(1970, 7, 1, 15, tzinfo=UTC)


def test_floats_of_our_own_code_are_the_numbers_that_they_show() -> None:
    tree = {"resourceType": "Observation", "valueQuantity": {"value": 5.4}}
    assert index(tree).quantities[0][1] == Decimal("5.4")


SAMPLES: dict[str, Any] = {
    "code": "final",
    "string": "Text",
    "markdown": "Text",
    "uri": "urn:x",
    "url": "urn:x",
    "id": "x",
    "canonical": "http://c|1",
    "boolean": True,
    "integer": 3,
    "decimal": Decimal("3.5"),
    "date": "2026-03-05",
    "dateTime": "2026-03-05",
    "instant": "2026-03-05T10:00:00Z",
    "Period": {"start": "2026"},
    "Timing": {"event": ["2026"]},
    "Coding": {"system": "urn:s", "code": "c"},
    "CodeableConcept": {"coding": [{"system": "urn:s", "code": "c"}]},
    "Identifier": {"system": "urn:s", "value": "c"},
    "ContactPoint": {"system": "phone", "value": "c"},
    "Reference": {"reference": "Patient/1"},
    "HumanName": {"text": "Anna"},
    "Address": {"text": "Chūō"},
    "Quantity": {"value": 3, "code": "mg"},
    "Range": {"low": {"value": 3}},
    "Money": {"value": 3, "currency": "JPY"},
    "SampledData": {"origin": {"value": 1}, "data": "1 2"},
}


def _holding(resource_type: str, path: ElementPath) -> Tree:
    """A resource that holds one value at `path` and nothing else."""
    value = {"reference": f"{path.target}/1"} if path.target else SAMPLES[path.datatype]
    steps = path.path.split(".")
    for step in reversed(steps):
        name, _, condition = step.partition("[")
        key, _, wanted = condition.rstrip("]").partition("=")
        if wanted:
            value = {**value, key: wanted}
        value = {name: [value] if name == "coding" else value}
    return {"resourceType": resource_type, **value}


def _paths() -> Iterator[tuple[SearchParameter, ElementPath]]:
    for resource_type in all_types():
        for parameter in search_parameters(resource_type):
            for path in parameter.paths:
                if path.path and path.datatype != "Resource" and parameter.code != "_lastUpdated":
                    yield parameter, path


def _names(rows: IndexRows, resource_type: str) -> set[str]:
    tokens = {token.removeprefix(f"{resource_type}.") for token in rows.tokens}
    names = {token.split("=")[0].split("|")[0] for token in tokens}
    tables = (rows.references, rows.dates, rows.quantities, rows.strings)
    return names | {row[0] for table in tables for row in table}


def test_every_path_of_every_type_gives_rows_of_its_parameter() -> None:
    lost = [
        (parameter.resource_type, parameter.code, path.path)
        for parameter, path in _paths()
        if not set(parameter.row_params)
        & _names(index(_holding(parameter.resource_type, path)), parameter.resource_type)
    ]
    assert lost == []
    assert sum(1 for _ in _paths()) > 1300


def test_every_served_type_can_be_searched() -> None:
    assert set(all_types()) >= RESOURCE_TYPES


def test_parameters_name_their_official_definitions() -> None:
    parameter = parameters_of("ServiceRequest")["patient"]
    assert parameter.definition == "http://hl7.org/fhir/SearchParameter/clinical-patient"
    assert (parameter.type, parameter.targets) == ("reference", ("Patient",))


def test_a_bundle_is_found_by_the_resource_that_it_is_about() -> None:
    entry = {"resource": {"resourceType": "Composition", "id": "c"}}
    rows = index({"resourceType": "Bundle", "type": "document", "entry": [entry, entry]})
    assert "Bundle.composition=Composition/c" in rows.tokens
    assert not any("message" in token for token in rows.tokens)
