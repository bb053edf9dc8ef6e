"""The Parameters of the operations."""

from datetime import UTC, datetime
from typing import Any

import pytest

from kanwa_scheduling.application.parameters import booking_query, find_query
from kanwa_shared.errors import Invalid, NotSupported

REFERRAL = {"name": "based-on", "valueReference": {"reference": "ServiceRequest/r"}}
APPOINTMENT = {"resourceType": "Appointment", "id": "a", "status": "proposed"}


def parameters(*given: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": list(given)}


def test_a_date_means_its_whole_day() -> None:
    query = find_query(
        parameters(
            REFERRAL,
            {"name": "start", "valueDateTime": "2026-03-02"},
            {"name": "end", "valueDateTime": "2026-03-03"},
        )
    )
    assert query.start == datetime(2026, 3, 2, tzinfo=UTC)
    assert query.end == datetime(2026, 3, 4, tzinfo=UTC)


def test_an_instant_is_read_with_its_offset() -> None:
    query = find_query(
        parameters(
            REFERRAL,
            {"name": "start", "valueDateTime": "2026-03-02T09:00:00+09:00"},
            {"name": "end", "valueDateTime": "2026-03-02T01:00:00Z"},
        )
    )
    assert (query.start, query.end) == (
        datetime(2026, 3, 2, tzinfo=UTC),
        datetime(2026, 3, 2, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    "value",
    [
        {"valueString": "https://kanwa.example/fhir/CodeSystem/ir-procedure|tips"},
        {"valueString": "tips"},
        {"valueCoding": {"code": "tips"}},
        {"valueCodeableConcept": {"coding": [{"code": "tips"}]}},
    ],
    ids=["token", "code", "coding", "concept"],
)
def test_the_kind_of_visit_is_read_in_each_of_its_forms(value: dict[str, Any]) -> None:
    assert find_query(parameters(REFERRAL, {"name": "visit-type", **value})).procedure == "tips"


def test_several_practitioners_are_alternatives() -> None:
    query = find_query(
        parameters(
            REFERRAL,
            {"name": "practitioner", "valueReference": {"reference": "Practitioner/1"}},
            {"name": "practitioner", "valueReference": {"reference": "PractitionerRole/2"}},
        )
    )
    assert query.practitioners == {"Practitioner/1", "PractitionerRole/2"}


@pytest.mark.parametrize(
    "given",
    [
        {"name": "start", "valueDateTime": "soon"},
        {"name": "start", "valueBoolean": True},
        {"name": "_count", "valueInteger": -1},
        {"name": "_count", "valueString": "many"},
        {"name": "organization", "valueReference": {"reference": "Patient/1"}},
    ],
    ids=["not a date", "not a text", "negative", "not a number", "another type"],
)
def test_a_malformed_parameter_is_named(given: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match=f"parameter {given['name']} must be"):
        find_query(parameters(REFERRAL, given))


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(Invalid) as refusal:
        find_query(
            parameters({"name": "start", "valueDateTime": "soon"}, {"name": "_count", "valueInteger": -1})
        )
    assert len(refusal.value.issues) == 2


def test_an_unknown_parameter_is_not_ignored() -> None:
    with pytest.raises(NotSupported, match="unknown parameter timing"):
        find_query(parameters(REFERRAL, {"name": "timing", "valueTiming": {}}))


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ({"name": "appt-resource", "resource": APPOINTMENT}, "appointment"),
        ({"name": "appt-reference", "valueReference": {"reference": "Appointment/a"}}, "appointment"),
        ({"name": "appointment-resource", "resource": APPOINTMENT}, "bundle"),
        ({"name": "appointment-reference", "valueReference": {"reference": "Appointment/a"}}, "bundle"),
    ],
    ids=["resource", "reference", "IHE's resource", "IHE's reference"],
)
def test_an_appointment_is_named_in_each_of_four_ways(given: dict[str, Any], answer: str) -> None:
    query = booking_query(parameters(given))
    assert (query.appointment_id, query.answer) == ("a", answer)


@pytest.mark.parametrize(
    "given",
    [
        [],
        [{"name": "appt-resource", "resource": {"resourceType": "Slot"}}],
        [{"name": "appt-resource"}],
        [
            {"name": "appt-resource", "resource": APPOINTMENT},
            {"name": "appt-reference", "valueReference": {"reference": "Appointment/a"}},
        ],
    ],
    ids=["none", "another type", "empty", "two"],
)
def test_anything_but_one_appointment_is_refused(given: list[dict[str, Any]]) -> None:
    with pytest.raises(Invalid, match="exactly one Appointment"):
        booking_query(parameters(*given))
